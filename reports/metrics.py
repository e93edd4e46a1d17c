"""What the reports process counts."""

from prometheus_client import Counter, Gauge, Histogram

REPORT_SECONDS = Histogram(
    "linkjolt_report_seconds", "Seconds a report took, by the source that answered.", ["source"]
)
INCOMPLETE = Counter(
    "linkjolt_reports_incomplete_total", "Reports from raw events that ran into their time limit."
)
BALANCE_DIFFERENCE = Gauge(
    "linkjolt_balance_difference_events",
    "Accepted events neither stored, rejected nor waiting when the balance was last read.",
    ["stream"],
)
