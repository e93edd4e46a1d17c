"""What an edge counts."""

from prometheus_client import Counter

CLICKS = Counter(
    "linkjolt_clicks_accepted", "Requests for tracking links that are on disk in the stream."
)
CLICKS_SHED = Counter(
    "linkjolt_clicks_shed", "Requests that were redirected though their click could not be stored."
)
UNKNOWN_CODES = Counter("linkjolt_unknown_codes", "Requests for tracking codes that do not exist.")
CONVERSIONS = Counter("linkjolt_conversions", "Conversions posted, by outcome.", ["outcome"])
