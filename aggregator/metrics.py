"""Declares the aggregator's metrics."""

from prometheus_client import Counter, Gauge, Histogram

STORED = Counter("linkjolt_stored", "Events stored in the warehouse.", ["kind"])
REJECTED = Counter(
    "linkjolt_rejected", "Accepted lines that went to the rejects table.", ["reason"]
)
BATCH_SECONDS = Histogram(
    "linkjolt_batch_seconds", "Seconds from reading a batch to its rows in raw and rollups."
)
RETRIES = Counter(
    "linkjolt_aggregator_retries", "Steps begun anew because ClickHouse or Redis failed."
)
REWOUND_STREAMS = Counter(
    "linkjolt_stream_forgotten",
    "Times that a stream ended before what is stored: Redis was restored to an older state.",
    ["kind"],
)
LEASES = Gauge("linkjolt_leases", "Streams that this aggregator stores, of several aggregators.")
DELIVERIES_STORED = Counter(
    "linkjolt_deliveries_stored", "Finished deliveries of webhooks stored in their log."
)
DELIVERIES_QUEUED = Counter(
    "linkjolt_deliveries_queued", "Deliveries queued from the warehouse: of backlogs and replays."
)
PRIVACY_OPEN = Gauge(
    "linkjolt_privacy_jobs_open", "Erasures and exports of customers that are not done."
)
PRIVACY_DONE = Counter(
    "linkjolt_privacy_jobs_done", "Erasures and exports of customers that are done.", ["kind"]
)
DELIVERY_LOG_RETRIES = Counter(
    "linkjolt_delivery_log_retries",
    "Steps of the delivery log begun anew because ClickHouse or Redis failed.",
)
AUDIT_ENTRIES_STORED = Counter("linkjolt_audit_entries_stored", "Entries stored in the audit log.")
RETENTION_MONTHS = Counter(
    "linkjolt_raw_retention_months", "Ingest months whose raw clicks were deleted."
)
RETENTION_BLOCKED = Gauge(
    "linkjolt_raw_retention_blocked",
    "Whether (1) raw clicks past their retention are kept, for a rollup does not hold them.",
)
AUDIT_LOG_BROKEN = Counter(
    "linkjolt_audit_log_broken",
    "Times that the stored audit log of an account lacked the row of which Redis keeps the hash.",
)
AUDIT_LOG_RETRIES = Counter(
    "linkjolt_audit_log_retries",
    "Steps of the audit log begun anew because ClickHouse or Redis failed.",
)
