"""Lists the dimensions of events beyond campaign, affiliate and link, for rollup and reports."""

# Nearly every click has a value: one rollup row for each value, the empty one too.
DENSE = ("country", "language", "device", "os", "browser", "referrer_host")

# Empty on most clicks: rollup rows only for values, and one for the set of empty dimensions, whose
# bits follow this order. New names go last, so that old rollup rows keep their meaning.
SPARSE = (
    *(f"sub{index}" for index in range(1, 11)),
    "source_id",
    "creative_id",
    "coupon_code",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "region",
)
EMPTY = "empty"
