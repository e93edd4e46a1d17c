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
PENDING = Gauge(
    "linkjolt_webhook_pending",
    "Deliveries that are pending, of all endpoints.",
    multiprocess_mode="mostrecent",
)
WAITING_ENDPOINTS = Gauge(
    "linkjolt_webhook_waiting_endpoints",
    "Endpoints whose newer events wait in the warehouse, for too many deliveries are pending.",
    multiprocess_mode="mostrecent",
)
LOG_BYTES = Gauge(
    "linkjolt_webhook_log_bytes",
    "Bytes of finished deliveries in Redis that the warehouse has not stored.",
    multiprocess_mode="mostrecent",
)
LOG_DROPPED = Gauge(
    "linkjolt_webhook_log_dropped",
    "Finished deliveries of which the log lost the record, for none of it was stored in time.",
    multiprocess_mode="mostrecent",
)
