"""Declares the metrics of an edge."""

from prometheus_client import Counter, Gauge, Histogram

CLICKS = Counter(
    "linkjolt_clicks_accepted", "Requests for tracking links that are on disk in the stream."
)
CLICKS_SHED = Counter(
    "linkjolt_clicks_shed", "Requests that were redirected though their click could not be stored."
)
UNKNOWN_CODES = Counter("linkjolt_unknown_codes", "Requests for tracking codes that do not exist.")
CONVERSIONS = Counter("linkjolt_conversions", "Conversions posted, by outcome.", ["outcome"])
SPOOLED = Gauge(
    "linkjolt_spool_events",
    "Events on an edge's disk that wait for Redis.",
    multiprocess_mode="livesum",
)
PUBLISH_SECONDS = Histogram(
    "linkjolt_publish_seconds",
    "Seconds from a frame's sending to the reply that it is on disk.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
FORGED_CLICK_IDS = Counter(
    "linkjolt_forged_click_ids", "Click ids in posts, postbacks and pixels that are not genuine."
)
POSTBACKS = Counter(
    "linkjolt_postbacks", "Postbacks and pixels, taken or by the reason of refusal.", ["outcome"]
)
POSTBACK_NOTES = Counter(
    "linkjolt_postback_notes",
    "Marks on recorded postbacks, such as an amount that nobody filled in.",
    ["note"],
)
POSTBACK_SIGNATURES = Counter(
    "linkjolt_postback_signatures",
    "Signatures of postbacks that were accepted, by form: of the call, or of its query alone.",
    ["form"],
)
EARLY_WAITING = Gauge(
    "linkjolt_early_adjustments_waiting",
    "Adjustments that wait until the conversions of their orders are stored.",
    multiprocess_mode="livemax",
)
EARLY_ADJUSTMENTS = Counter(
    "linkjolt_early_adjustments",
    "Adjustments that had waited for their orders, by whether they were applied.",
    ["outcome"],
)
OAUTH_REQUESTS = Counter(
    "linkjolt_oauth_requests",
    "Requests of OAuth clients for tokens and for revocations, by outcome: ok, or the error.",
    ["endpoint", "outcome"],
)
