"""Generates the mix of a busy installation: clicks by Zipf's law, conversions, reports."""

import random
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

import msgspec

from loadtests.http_client import FIREFOX

RequestKind = Literal["click", "conversion", "report"]
_KINDS: tuple[RequestKind, ...] = ("click", "conversion", "report")
_SHARES = (95, 4, 1)
# Share of conversions that name a click id, once there are clicks; the others name a code.
_BY_CLICK_ID = 0.8
_CLICK_IDS_MAX = 1_000
_ADS = 20
_REPORTS = (
    "from=24h&interval=hour",
    "from=24h&group_by=link&sort=-clicks&limit=50",
    "from=today&group_by=sub2",
    "from=24h&group_by=campaign,affiliate",
)
_VISITOR = {
    "User-Agent": FIREFOX,
    "Accept-Language": "en-US,en;q=0.5",
    "Referer": "https://blog.example/ten-best-shoes",
}


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Targets, rate and duration of one loop; acknowledgements go to files in `folder`.

    `per_second` is the open loop's rate; request numbers start at `first_number`.
    """

    edge_url: str
    reports_url: str
    key: str
    codes: list[str]
    per_second: float
    seconds: float
    seed: int
    folder: str
    first_number: int = 1


class MixRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request; its `number` is unique in the whole run."""

    kind: RequestKind
    number: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


def zipf(count: int) -> list[float]:
    """Returns the cumulated weights of ranks 1 to `count`.

    The second rank is requested half as often as the first, the tenth a tenth as often.
    """
    return list(accumulate(1 / rank for rank in range(1, count + 1)))


class Mix:
    """Generates requests from a seed and the click ids of the redirects so far."""

    def __init__(self, codes: Sequence[str], key: str, seed: int, first_number: int = 1) -> None:
        self._codes = codes
        self._weights = zipf(len(codes))
        self._chance = random.Random(seed)
        self._number = first_number - 1
        self._click_ids: deque[str] = deque(maxlen=_CLICK_IDS_MAX)
        self._report_headers = {"Authorization": f"Bearer {key}"}
        self._conversion_headers = {**self._report_headers, "Content-Type": "application/json"}

    def add_click_id(self, click_id: str) -> None:
        """Adds a click that later conversions may name."""
        self._click_ids.append(click_id)

    def next(self) -> MixRequest:
        self._number += 1
        match self._chance.choices(_KINDS, _SHARES)[0]:
            case "click":
                return self._click()
            case "conversion":
                return self._conversion()
            case "report":
                return self._report()

    def _code(self) -> str:
        return self._chance.choices(self._codes, cum_weights=self._weights)[0]

    def _click(self) -> MixRequest:
        target = f"/{self._code()}?sub1={self._number}&sub2=ad{self._chance.randrange(_ADS)}"
        return MixRequest(
            kind="click", number=self._number, method="GET", target=target, headers=_VISITOR
        )

    def _conversion(self) -> MixRequest:
        order: dict[str, object] = {
            "order_id": f"order_{self._number}",
            "order_value": self._chance.randrange(100, 100_000) / 100,
        }
        if self._click_ids and self._chance.random() < _BY_CLICK_ID:
            order["click_id"] = self._chance.choice(self._click_ids)
        else:
            order["tracking_code"] = self._code()
        return MixRequest(
            kind="conversion",
            number=self._number,
            method="POST",
            target="/v1/conversions",
            headers=self._conversion_headers,
            body=msgspec.json.encode(order),
        )

    def _report(self) -> MixRequest:
        query = self._chance.choice(_REPORTS)
        return MixRequest(
            kind="report",
            number=self._number,
            method="GET",
            target=f"/v1/reports?{query}",
            headers=self._report_headers,
        )
