"""Declares the bench's targets; README.md repeats them, and a test compares the two."""

from typing import Literal

import msgspec


class Budget(msgspec.Struct, frozen=True):
    """The most or the least that a figure may be; `unit` is written right behind the number."""

    sign: Literal[">=", "<="]
    bound: float
    unit: str

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:,g}{self.unit}"

    def allows(self, figure: float) -> bool:
        """Compares a figure, in the budget's unit, with the bound."""
        return figure >= self.bound if self.sign == ">=" else figure <= self.bound


CLICKS_TO_LUA = Budget(">=", 2, "x")
CLICKS_TO_LUA_EVERYSEC = Budget(">=", 2.5, "x")
CLICKS_TO_BARE_NGINX = Budget(">=", 0.6, "x")
REDIRECT_P99 = Budget("<=", 4, " ms")
REDIRECT_P99_TO_LUA = Budget("<=", 1, "x")
CONVERSIONS = Budget(">=", 20_000, "/s")
CONVERSION_LINES = Budget(">=", 70_000, "/s")
WEBHOOKS = Budget(">=", 2_000, "/s")
EVENTS_STORED = Budget(">=", 100_000, "/s")
VISIBLE_P50 = Budget("<=", 0.8, " s")
VISIBLE_P99 = Budget("<=", 1.5, " s")
WAITING_CLICK = Budget("<=", 400, " bytes")
INSTALLED_START = Budget("<=", 5, " s")
FRESH_START = Budget("<=", 90, " s")
# Of reports over 100 million clicks: every one's p99, the first one after a start, and how many of
# the bench's reports keep the shorter times.
REPORT_P99 = Budget("<=", 100, " ms")
FIRST_REPORT = Budget("<=", 1, " s")
SHORT_REPORT_MS = 50.0
SHORT_P50_REPORTS = Budget(">=", 20, " of 24")
SHORT_P99_REPORTS = Budget(">=", 12, " of 24")
