-- Reads the latest names of campaigns and affiliates and the codes of links.
SELECT kind, number, argMax(code, version) AS code, argMax(name, version) AS name
FROM registry
WHERE account = {account:UInt32} AND (
    (kind = 'campaign' AND number IN {campaign:Array(UInt32)})
    OR (kind = 'affiliate' AND number IN {affiliate:Array(UInt32)})
    OR (kind = 'link' AND number IN {link:Array(UInt32)})
)
GROUP BY kind, number
