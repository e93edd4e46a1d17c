"""Makes the events for an endpoint again from the stored rows of their streams."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import structlog

from linkjolt.events import Click, Conversion
from linkjolt.position import SEQUENCE_BITS, time_ms
from linkjolt.redis_keys import Stream
from linkjolt.registry.entries import Webhook
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.stream_lines import parse_fact
from linkjolt.webhooks.deliveries.delivery import Delivery, delivery_of, make_place
from linkjolt.webhooks.deliveries.log import CLICK_COLUMNS
from linkjolt.webhooks.events import WebhookEvent, click_event, event_of_fact, is_subscribed

_FOLDER = Path(__file__).parent / "sql"
# The fields of a conversion that its first row holds under the same name.
_CONVERSION_COLUMNS = tuple(
    name for name in Conversion.__struct_fields__ if name not in ("status", "time_ms", "refused")
)
log = structlog.get_logger()


def _sql(name: str, columns: Sequence[str]) -> str:
    text = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    return text.replace("{columns}", ", ".join(columns))


_FACTS = _sql("stored_facts", _CONVERSION_COLUMNS)
_CLICKS = _sql("stored_clicks", CLICK_COLUMNS)


class _StoredFact(Conversion, frozen=True, kw_only=True):
    pos: int
    kind: str
    fact: str
    adjusted_ms: int

    def webhook_event(self) -> WebhookEvent | None:
        if self.kind == "created":
            return event_of_fact(self)
        if not self.fact:
            # Stored by a release that kept no lines.
            log.error("adjustment cannot be delivered", conversion_id=self.conversion_id)
            return None
        return event_of_fact(parse_fact(self.fact.encode()))


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
            found = [(click.pos, click_event(click)) for click in clicks]
        else:
            facts = await self._clickhouse.read(_FACTS, _StoredFact, parameters)
            facts.sort(key=_fact_order)
            found = [(fact.pos, fact.webhook_event()) for fact in facts]
        read_until = found[-1][0] if len(found) >= count else end
        return StoredPage(_deliveries(webhook, found), read_until)


def _fact_order(fact: _StoredFact) -> tuple[int, bool, int, str]:
    return fact.pos, fact.kind != "created", fact.adjusted_ms, fact.conversion_id


def _deliveries(
    webhook: Webhook, found: Iterable[tuple[int, WebhookEvent | None]]
) -> list[Delivery]:
    deliveries: list[Delivery] = []
    last_pos, number = -1, 0
    for pos, event in found:
        number = number + 1 if pos == last_pos else 0
        last_pos = pos
        event_ms, sequence = time_ms(pos), pos & (1 << SEQUENCE_BITS) - 1
        if event is not None and is_subscribed(webhook, event, event_ms):
            place = make_place(sequence, number)
            deliveries.append(delivery_of(event, webhook, event_ms, place))
    return deliveries
