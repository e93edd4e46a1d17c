"""Reads the log of finished deliveries in the warehouse, and makes the bodies of clicks again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from linkjolt.click_ids import decode_base32, unpack_click_number
from linkjolt.datasets import Dataset
from linkjolt.events import RECORDED_PARAMETERS, Click
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.webhooks.deliveries.delivery import (
    EVENT_MAX_MS,
    Delivery,
    DeliveryAttempt,
    DeliveryKey,
    DeliveryState,
)
from linkjolt.webhooks.events import click_event

_FOLDER = Path(__file__).parent / "sql"
CLICK_COLUMNS = ("click_id", "account", "link", "campaign", "affiliate", *RECORDED_PARAMETERS)
# After the last delivery that there may be.
_LOG_END: DeliveryKey = (EVENT_MAX_MS, 0, "")
_encode_tries = msgspec.json.Encoder().encode
_decode_tries = msgspec.json.Decoder(tuple[DeliveryAttempt, ...]).decode


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table `deliveries`: the fields are its columns; times of events in seconds."""

    webhook: int
    event_at: float
    place: int
    webhook_id: str
    account: Dataset
    event: str
    state: DeliveryState
    round: int
    attempt: int
    click_id: str
    body: str
    tries: str
    version: int


class _LoggedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    event_ms: int
    place: int
    webhook_id: str
    account: Dataset
    event: str
    state: DeliveryState
    round: int
    attempt: int
    click_id: str
    body: str
    tries: str
    finished_ms: int

    def delivery(self) -> Delivery:
        fields: dict[str, Any] = msgspec.structs.asdict(self)
        fields["tries"] = _decode_tries(self.tries)
        return Delivery(**fields)


_COLUMNS = ", ".join(
    {
        "event_ms": "toUnixTimestamp64Milli(event_at) AS event_ms",
        "finished_ms": "version AS finished_ms",
    }.get(name, name)
    for name in _LoggedDelivery.__struct_fields__
)


def _sql(name: str, columns: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8").replace("{columns}", columns)


_PAGE = _sql("log_page", _COLUMNS)
_RANGE = _sql("log_range", _COLUMNS)
_COUNT = _sql("log_count", "")
_ONE = _sql("log_one", _COLUMNS)
_CLICKS = _sql("clicks", ", ".join(CLICK_COLUMNS))


def delivery_row(webhook: int, one: Delivery) -> DeliveryRow:
    """Makes the row of a finished delivery to an endpoint."""
    return DeliveryRow(
        webhook=webhook,
        event_at=one.event_ms / 1000,
        place=one.place,
        webhook_id=one.webhook_id,
        account=one.account,
        event=one.event,
        state=one.state,
        round=one.round,
        attempt=one.attempt,
        click_id=one.click_id,
        body=one.body,
        tries=_encode_tries(one.tries).decode(),
        version=one.finished_ms,
    )


class _DeliveryCount(msgspec.Struct, frozen=True):
    n: int


class WarehouseDeliveryLog:
    """The log of finished deliveries; its methods raise ClickHouseFailed."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def page(
        self, webhook: int, count: int, before: DeliveryKey | None = None
    ) -> list[Delivery]:
        """Reads at most `count` deliveries before a key, the newest events first."""
        before_ms, before_place, before_id = min(before or _LOG_END, _LOG_END)
        parameters = {
            "webhook": webhook,
            "before_ms": before_ms,
            "before_place": before_place,
            "before_id": before_id,
            "count": count,
        }
        rows = await self._clickhouse.read(_PAGE, _LoggedDelivery, parameters)
        return [row.delivery() for row in rows]

    async def range(
        self, webhook: int, count: int, after: DeliveryKey, to_ms: int, only: str = ""
    ) -> list[Delivery]:
        """Reads the next deliveries behind a key, of events before `to_ms`, in their order."""
        after_ms, after_place, after_id = after
        parameters = {
            "webhook": webhook,
            "after_ms": after_ms,
            "after_place": after_place,
            "after_id": after_id,
            "to_ms": to_ms,
            "only": only,
            "count": count,
        }
        rows = await self._clickhouse.read(_RANGE, _LoggedDelivery, parameters)
        return [row.delivery() for row in rows]

    async def count(
        self, webhook: int, from_ms: int, to_ms: int, without: Sequence[str] = ()
    ) -> int:
        """Counts the deliveries of events in [from, to) that are not among some."""
        parameters = {"webhook": webhook, "from_ms": from_ms, "to_ms": to_ms}
        parameters |= {"without": [*without]}
        return (await self._clickhouse.read(_COUNT, _DeliveryCount, parameters))[0].n

    async def find(self, webhook: int, webhook_id: str) -> Delivery | None:
        """Reads a delivery with its body; None if there is none, or its click is gone."""
        parameters = {"webhook": webhook, "webhook_id": webhook_id}
        rows = await self._clickhouse.read(_ONE, _LoggedDelivery, parameters)
        found = await self.with_bodies([row.delivery() for row in rows])
        return found[0] if found and found[0].body else None

    async def with_bodies(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Adds the bodies of clicks, from the clicks as they are stored."""
        bodies = await self._click_bodies(
            [one for one in deliveries if one.click_id and not one.body]
        )
        return [
            msgspec.structs.replace(one, body=bodies[one.click_id])
            if not one.body and one.click_id in bodies
            else one
            for one in deliveries
        ]

    async def _click_bodies(self, deliveries: Sequence[Delivery]) -> dict[str, str]:
        numbers = [decode_base32(one.click_id) for one in deliveries]
        refs = [unpack_click_number(number) for number in numbers if number is not None]
        if not refs:
            return {}
        parameters = {
            "accounts": sorted({one.account for one in deliveries}),
            "links": sorted({ref.link for ref in refs}),
            "times_ms": sorted({ref.time_ms for ref in refs}),
            "ids": sorted({one.click_id for one in deliveries}),
        }
        clicks = await self._clickhouse.read(_CLICKS, Click, parameters)
        events = {click.click_id: click_event(click) for click in clicks}
        return {click_id: event.body.decode() for click_id, event in events.items() if event}
