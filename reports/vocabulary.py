"""Declares the vocabulary of the report API: dimensions, metrics, intervals, presets."""

from typing import Literal

from linkjolt.dimensions import DENSE, SPARSE

# These are in every rollup; the first three are registry numbers.
NUMBERED_DIMENSIONS = ("campaign", "affiliate", "link")
BASE_DIMENSIONS = (*NUMBERED_DIMENSIONS, "verdict", "currency")
# Each row of rollup_dimension and rollup_day has one of these.
SINGLE_DIMENSIONS = (*DENSE, *SPARSE)
# These are in no rollup: they need raw conversions, and raw clicks for the reason of a verdict.
CONVERSION_DIMENSIONS = ("event", "status")
REASON_DIMENSION = "verdict_reason"
DIMENSIONS = (*BASE_DIMENSIONS, *SINGLE_DIMENSIONS, *CONVERSION_DIMENSIONS, REASON_DIMENSION)

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
    "clawback",
    "unverified_conversions",
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
MONEY_METRICS = ("revenue", "commission", "epc", "aov", "clawback")

Interval = Literal["minute", "15m", "hour", "day", "week", "month", "none"]
TimeBasis = Literal["conversion", "click"]
Format = Literal["json", "csv"]
Compare = Literal["none", "previous", "year"]
INTERVALS: tuple[Interval, ...] = ("minute", "15m", "hour", "day", "week", "month", "none")
TIME_BASES: tuple[TimeBasis, ...] = ("conversion", "click")
FORMATS: tuple[Format, ...] = ("json", "csv")
COMPARES: tuple[Compare, ...] = ("none", "previous", "year")
PRESETS = ("today", "yesterday", "24h", "7d", "30d", "mtd", "last_month")
