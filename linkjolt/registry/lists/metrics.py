"""Declares the metric of lists."""

from prometheus_client import Gauge

LIST_ROWS = Gauge(
    "linkjolt_list_rows",
    "Registry entries that a process keeps in memory to search, filter and sort lists.",
    multiprocess_mode="livesum",
)
