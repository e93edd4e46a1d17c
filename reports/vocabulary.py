"""The words of the report API: dimensions, metrics, intervals, presets."""

from typing import Literal

from linkjolt.dimensions import DENSE, SPARSE

# In every rollup; the first three are registry numbers.
NUMBERED = ("campaign", "affiliate", "link")
BASE = (*NUMBERED, "verdict", "currency")
# In one rollup, one at a time.
FURTHER = (*DENSE, *SPARSE)
# In no rollup: conversions are read from their facts, and clicks for their verdict's reason.
LEDGER = ("event", "status")
REASON = "verdict_reason"
DIMENSIONS = (*BASE, *FURTHER, *LEDGER, REASON)

METRICS = (
    "clicks",
    "unique_clicks",
    "bot_clicks",
    "duplicate_clicks",
    "conversions",
    "pending",
    "approved",
    "rejected",
    "revenue",
    "commission",
    "cr",
    "epc",
    "aov",
    "approval_rate",
)
DEFAULT_METRICS = (
    "clicks",
    "unique_clicks",
    "conversions",
    "revenue",
    "commission",
    "cr",
    "epc",
)
MONEY = ("revenue", "commission", "epc", "aov")

Interval = Literal["minute", "15m", "hour", "day", "week", "month", "none"]
TimeBasis = Literal["conversion", "click"]
Format = Literal["json", "csv"]
Compare = Literal["none", "previous", "year"]
INTERVALS: tuple[Interval, ...] = ("minute", "15m", "hour", "day", "week", "month", "none")
TIME_BASES: tuple[TimeBasis, ...] = ("conversion", "click")
FORMATS: tuple[Format, ...] = ("json", "csv")
COMPARES: tuple[Compare, ...] = ("none", "previous", "year")
PRESETS = ("today", "yesterday", "24h", "7d", "30d", "mtd", "last_month")
