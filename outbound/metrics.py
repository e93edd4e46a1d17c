"""Declares the metrics of the webhooks process."""

from prometheus_client import Counter, Gauge, Histogram

QUEUED = Counter("linkjolt_webhook_queued", "Deliveries queued for endpoints.")
TRIES = Counter("linkjolt_webhook_tries", "Tries of deliveries, by outcome.", ["outcome"])
TRY_SECONDS = Histogram("linkjolt_webhook_try_seconds", "Seconds that one try of a delivery took.")
DISABLED = Counter("linkjolt_webhook_disabled", "Endpoints disabled after the last try, or by 410.")
GIVEN_UP = Counter(
    "linkjolt_webhook_given_up", "Deliveries that failed for good at endpoints that otherwise work."
)
ENDPOINTS = Gauge(
    "linkjolt_webhook_endpoints", "Endpoints that are active.", multiprocess_mode="mostrecent"
)
FAILING = Gauge(
    "linkjolt_webhook_failing_endpoints",
    "Endpoints that get one request at a time, with pauses, as they fail or ask to wait.",
    multiprocess_mode="mostrecent",
)
RETRIES = Counter(
    "linkjolt_webhook_feed_retries", "Reads of the streams retried because Redis failed."
)
