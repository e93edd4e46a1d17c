-- Mirror of the registry, for names in reports and for history. Kept by `version`, the change
-- feed's entry id; `code` is a link's tracking code, `name` a campaign's or affiliate's name.
CREATE TABLE IF NOT EXISTS registry {on_cluster} (
    kind LowCardinality(String),
    number UInt32,
    account UInt32,
    code String,
    name String,
    body String,
    version UInt64
)
ENGINE = {replacing_merge_tree_by_version}
ORDER BY (kind, number)
{durable}
