"""Makes the events for an endpoint again from the stored rows of their streams."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import structlog

from linkjolt.datasets import Dataset
from linkjolt.events import Click, Conversion
from linkjolt.position import SEQUENCE_BITS, time_ms
from linkjolt.redis_keys import Stream
from linkjolt.registry.entries import Webhook
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.stream_lines import parse_fact
from linkjolt.webhooks.deliveries.delivery import Delivery, delivery_of, make_place
from linkjolt.webhooks.deliveries.log import CLICK_COLUMNS
from linkjolt.webhooks.events import WebhookEvent, click_event, events_of_fact, is_subscribed

_FOLDER = Path(__file__).parent / "sql"
log = structlog.get_logger()


def _sql(name: str, columns: Sequence[str]) -> str:
    text = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    return text.replace("{columns}", ", ".join(columns))


_FACTS = _sql("stored_facts", ())
_CLICKS = _sql("stored_clicks", CLICK_COLUMNS)


class _StoredFact(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a conversion, with what its event holds, or of an adjustment, with its line."""

    pos: int
    kind: str
    fact: str
    adjusted_ms: int
    conversion_id: str
    account: Dataset
    event: str
    time_ms: int
    currency: str
    order_value_minor: int
    commission_minor: int
    status: str
    order_id: str
    campaign: int
    affiliate: int
    click_id: str
    unverified_now: bool

    def events(self) -> Sequence[WebhookEvent]:
        if self.kind != "created":
            return self._adjustment_events()
        conversion = Conversion(
            conversion_id=self.conversion_id,
            account=self.account,
            event=self.event,
            time_ms=self.time_ms,
            currency=self.currency,
            order_value_minor=self.order_value_minor,
            commission_minor=self.commission_minor,
            status="approved" if self.status == "approved" else "pending",
            attribution="none",
            order_id=self.order_id,
            campaign=self.campaign,
            affiliate=self.affiliate,
            click_id=self.click_id,
            verified=not self.unverified_now,
        )
        return events_of_fact(conversion)

    def _adjustment_events(self) -> Sequence[WebhookEvent]:
        if not self.fact:
            # Stored by a release that kept no lines.
            log.error("adjustment cannot be delivered", conversion_id=self.conversion_id)
            return ()
        return events_of_fact(parse_fact(self.fact.encode()))


class _StoredClick(Click, frozen=True, kw_only=True):
    pos: int


class StoredPage(msgspec.Struct, frozen=True):
    """Deliveries in the order of their events; `end`: the position up to which they are all."""

    deliveries: list[Delivery]
    end: int


class StoredEvents:
    """Reads stored events; its methods raise ClickHouseFailed."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def read(
        self, webhook: Webhook, stream: Stream, start: int, end: int, count: int
    ) -> StoredPage:
        """Reads about `count` events of a stream from one position to another for an endpoint."""
        parameters = {
            "account": webhook.account,
            "s": stream.number,
            "start": start,
            "end": end,
            "campaigns": [*webhook.campaigns],
            "affiliates": [*webhook.affiliates],
            "count": count,
        }
        if stream.kind == "clicks":
            clicks = await self._clickhouse.read(_CLICKS, _StoredClick, parameters)
            clicks.sort(key=lambda click: (click.pos, click.click_id))
            made = [(click.pos, click_event(click)) for click in clicks]
            found = [(pos, (event,) if event else ()) for pos, event in made]
        else:
            facts = await self._clickhouse.read(_FACTS, _StoredFact, parameters)
            facts.sort(key=_fact_order)
            found = [(fact.pos, fact.events()) for fact in facts]
        read_until = found[-1][0] if len(found) >= count else end
        return StoredPage(_deliveries(webhook, found), read_until)


def _fact_order(fact: _StoredFact) -> tuple[int, bool, int, str]:
    return fact.pos, fact.kind != "created", fact.adjusted_ms, fact.conversion_id


def _deliveries(
    webhook: Webhook, found: Iterable[tuple[int, Sequence[WebhookEvent]]]
) -> list[Delivery]:
    deliveries: list[Delivery] = []
    last_pos, number = -1, 0
    for pos, events in found:
        number = number if pos == last_pos else 0
        last_pos = pos
        event_ms, sequence = time_ms(pos), pos & (1 << SEQUENCE_BITS) - 1
        for event in events:
            if is_subscribed(webhook, event, event_ms):
                place = make_place(sequence, number)
                deliveries.append(delivery_of(event, webhook, event_ms, place))
            number += 1
    return deliveries
