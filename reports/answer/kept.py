"""Refuses reports that need raw clicks which their retention has deleted."""

from datetime import UTC, datetime

from linkjolt.position import time_ms
from linkjolt.reasons import Reason, Rejected
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.months import month_start
from linkjolt.storage.raw_retention import read_kept_month
from reports.query.query import Query


async def check_kept(clickhouse: ClickHouse, query: Query) -> None:
    """Rejected, naming `from`, for a query of raw clicks that begins before those that are kept."""
    start_ms = query.parameters["start_ms"]
    if not query.reads_raw_clicks or not isinstance(start_ms, int):
        return
    kept_month = await read_kept_month(clickhouse)
    if kept_month and start_ms < time_ms(month_start(kept_month)):
        begin = datetime.fromtimestamp(time_ms(month_start(kept_month)) / 1000, UTC)
        message = (
            f"is before {begin:%Y-%m-%d}, from which on single clicks are kept: begin then, or ask"
            " for one dimension less and for whole quarters of an hour"
        )
        raise Rejected(Reason.invalid_field, message, field="from")
