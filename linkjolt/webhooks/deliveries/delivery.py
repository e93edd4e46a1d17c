"""Declares a delivery: an event on its way to one endpoint, with its attempts."""

from typing import Literal

import msgspec

from linkjolt.datasets import Dataset
from linkjolt.registry.entries import Webhook
from linkjolt.webhooks.events import WebhookEvent, webhook_id

ATTEMPTS_KEPT = 20
# Of earlier attempts only the outcome is kept: an answer has up to a kilobyte.
_ANSWERS_KEPT = 4
# A sorted set's score holds milliseconds and 12 bits more.
_SCORE_STEPS = 1 << 12
_LINES_BITS = 16
# In 2109: a later instant would exceed what ClickHouse can compare.
EVENT_MAX_MS = 1 << 42
_LINES_IN_SCORE = 1 << 8
DeliveryState = Literal["pending", "delivered", "failed"]
# Sorts deliveries by their events; no two have the same.
DeliveryKey = tuple[int, int, str]


class DeliveryAttempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request: `status` 0 if there was no answer (`error` says why); `answer` is cut."""

    at_ms: int
    took_ms: int
    status: int = 0
    error: str = ""
    answer: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event on its way to one endpoint.

    `round` counts how often people resent it, `attempt` the attempts since then. `place` orders the
    events of one millisecond (`make_place`). `account` is that of the event, 0 where a former
    release queued it. A click's body is kept only while it is pending: then `click_id` makes it
    again. `finished_ms` is 0 while it is pending.
    """

    webhook_id: str
    event: str
    body: str
    event_ms: int
    state: DeliveryState = "pending"
    round: int = 0
    attempt: int = 0
    tries: tuple[DeliveryAttempt, ...] = ()
    place: int = 0
    account: Dataset = Dataset(0)
    click_id: str = ""
    finished_ms: int = 0

    @property
    def key(self) -> DeliveryKey:
        return self.event_ms, self.place, self.webhook_id

    @property
    def score(self) -> float:
        """Returns the time of its event, also among those of one millisecond as far as it goes."""
        return score(self.event_ms, self.place)

    @property
    def position(self) -> int:
        """Returns the position of its event in the stream."""
        return self.event_ms << 20 | self.place >> _LINES_BITS


class ClaimedDelivery(msgspec.Struct, frozen=True):
    """A delivery to attempt now, and when its lease ends (ms)."""

    delivery: Delivery
    lease_ms: int


encode_delivery = msgspec.json.Encoder().encode
decode_delivery = msgspec.json.Decoder(Delivery).decode


def delivery_of(event: WebhookEvent, webhook: Webhook, event_ms: int, place: int) -> Delivery:
    """Makes the delivery of an event that was accepted at `event_ms` to an endpoint."""
    return Delivery(
        webhook_id=webhook_id(event, webhook.number),
        event=event.type,
        body=event.body.decode(),
        event_ms=event_ms,
        place=place,
        account=event.account,
        click_id=event.identity if event.type == "click.created" else "",
    )


def make_place(sequence: int, line: int) -> int:
    """Makes the place of a line of the stream's entry with this sequence number."""
    return sequence << _LINES_BITS | min(line, (1 << _LINES_BITS) - 1)


def format_key(key: DeliveryKey) -> str:
    """Formats a key as a text that sorts as keys do."""
    event_ms, place, webhook_id = key
    return f"{event_ms:015d}.{place:020d}.{webhook_id}"


def parse_key(text: str) -> DeliveryKey:
    """Parses the text of a key; ValueError for any other."""
    event_ms, place, webhook_id = text.split(".", 2)
    return int(event_ms), int(place), webhook_id


def score(event_ms: int, place: int) -> float:
    """Computes the score of an event: its millisecond, and its place where that is a small one."""
    sequence, line = place >> _LINES_BITS, place & (1 << _LINES_BITS) - 1
    step = min(sequence * _LINES_IN_SCORE + line, _SCORE_STEPS - 1)
    return event_ms + step / _SCORE_STEPS


def finished(delivery: Delivery, now_ms: int) -> Delivery:
    """Returns a delivery as the log keeps it: a click's without body and answers."""
    if delivery.click_id:
        tries = _without_answers(delivery.tries)
        return msgspec.structs.replace(delivery, body="", tries=tries, finished_ms=now_ms)
    return msgspec.structs.replace(bounded(delivery), finished_ms=now_ms)


def bounded(delivery: Delivery) -> Delivery:
    """Returns a delivery that keeps the newest answers only."""
    if len(delivery.tries) <= _ANSWERS_KEPT:
        return delivery
    older, newer = delivery.tries[:-_ANSWERS_KEPT], delivery.tries[-_ANSWERS_KEPT:]
    return msgspec.structs.replace(delivery, tries=(*_without_answers(older), *newer))


def requeued(delivery: Delivery) -> Delivery:
    """Returns a delivery that starts its attempts again."""
    return msgspec.structs.replace(
        delivery, state="pending", round=delivery.round + 1, attempt=0, finished_ms=0
    )


def _without_answers(tries: tuple[DeliveryAttempt, ...]) -> tuple[DeliveryAttempt, ...]:
    return tuple(
        msgspec.structs.replace(attempt, answer="") if attempt.answer else attempt
        for attempt in tries
    )
