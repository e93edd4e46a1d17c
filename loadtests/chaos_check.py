"""Compares the ids that were acknowledged with those that are stored."""

from collections import Counter
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.conversion_ids import shard_of
from linkjolt.storage import clickhouse
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call
from loadtests.chaos_instance import AuditOutput
from loadtests.chaos_load import AnsweredPost

_CLICKS = "SELECT click_id, sub1 FROM clicks WHERE account != 0"
_CONVERSIONS = (
    "SELECT conversion_id, order_id FROM conversions WHERE account != 0 AND kind = 'created'"
)
ANSWERED = (200, 201, 202, 409)
_PAGE = 500
_REJECTS = "SELECT body FROM rejects FINAL WHERE s % 2 = 1"


class _ClickRow(msgspec.Struct, frozen=True):
    click_id: str
    sub1: str


class _ConversionRow(msgspec.Struct, frozen=True):
    conversion_id: str
    order_id: str


class _RejectRow(msgspec.Struct, frozen=True):
    body: str


class _RejectedLine(msgspec.Struct, frozen=True):
    conversion_id: str


class ClickCounts(msgspec.Struct, frozen=True):
    """`missing` clicks were acknowledged and not stored; `doubled` ones are stored repeatedly."""

    acknowledged: int
    stored: int
    missing: int
    doubled: int


class ConversionCounts(msgspec.Struct, frozen=True):
    """`answers` are counts by status; `missing` includes orders answered but not stored."""

    answers: dict[int, int]
    acknowledged: int
    stored: int
    rejected: int
    missing: int
    doubled: int
    orders_doubled: int


class PhaseResult(msgspec.Struct, frozen=True):
    """The counts, audit and leftovers of one phase at its end."""

    clicks: ClickCounts
    conversions: ConversionCounts
    audit: AuditOutput | None
    shed: int
    spooled: int

    @property
    def clean(self) -> bool:
        wrong = (
            self.clicks.missing,
            self.clicks.doubled,
            self.conversions.missing,
            self.conversions.doubled,
            self.conversions.orders_doubled,
            self.shed,
            self.spooled,
        )
        audited = self.audit is not None and self.audit.clean and self.audit.waiting == 0
        # A load without any answer proves nothing.
        return audited and self.clicks.acknowledged > 0 and not any(wrong)


def count_repeats(counts: Counter[str]) -> int:
    """Counts the occurrences beyond the first of each key."""
    return counts.total() - len(counts)


def compare_clicks(acknowledged: set[str], stored: list[_ClickRow]) -> ClickCounts:
    """Counts clicks; each was sent once under its own number, so no id or number may repeat."""
    ids = Counter(click.click_id for click in stored)
    numbers = Counter(click.sub1 for click in stored)
    doubled = max(count_repeats(ids), count_repeats(numbers))
    return ClickCounts(len(acknowledged), len(stored), len(acknowledged - ids.keys()), doubled)


def compare_conversions(
    answers: list[AnsweredPost],
    stored: list[_ConversionRow],
    rejected: set[str],
    without_outcome: set[str],
) -> ConversionCounts:
    """Counts conversions and those that break a promise of their answer.

    A 200 or 201 names a stored conversion; a 202 names one whose outcome can be read. The
    order of each of these, and of a 409, is stored.
    """
    ids = Counter(row.conversion_id for row in stored)
    orders = Counter(row.order_id for row in stored)
    missing = set[str]()
    accepted = [posted for posted in answers if posted.status in (200, 201, 202)]
    orders_answered = {posted.order_id for posted in answers if posted.status in ANSWERED}
    for posted in accepted:
        queued = posted.status == 202
        if posted.conversion_id in without_outcome if queued else posted.conversion_id not in ids:
            missing.add(posted.conversion_id)
    missing |= orders_answered - orders.keys()
    acknowledged = {posted.conversion_id for posted in accepted}
    return ConversionCounts(
        answers=dict(sorted(Counter(posted.status for posted in answers).items())),
        acknowledged=len(acknowledged),
        stored=len(stored),
        rejected=len(rejected),
        missing=len(missing),
        doubled=count_repeats(ids),
        orders_doubled=count_repeats(orders),
    )


class BeforeStop(msgspec.Struct, frozen=True):
    """Readings from before the stop; `without_outcome` are the ids that lead to no outcome."""

    audit: AuditOutput | None
    shed: int
    without_outcome: set[str]


def read_answers(folder: Path) -> list[AnsweredPost]:
    """Reads the conversions that the load recorded."""
    lines = (folder / "conversions.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=AnsweredPost) for line in lines]


async def find_without_outcome(redis: Redis, answers: list[AnsweredPost]) -> set[str]:
    """Finds the conversion ids that were answered 202 and whose outcome cannot be read."""
    queued = [posted.conversion_id for posted in answers if posted.status == 202]
    unreadable = set[str]()
    for begin in range(0, len(queued), _PAGE):
        page = queued[begin : begin + _PAGE]
        keys = [redis_keys.conversion(shard_of(made) or 0, made) for made in page]
        values: list[bytes | None] = await call(redis, "MGET", *keys)
        unreadable |= {made for made, value in zip(page, values, strict=True) if value is None}
    return unreadable


async def compare(data: Path, folder: Path, before_stop: BeforeStop, spooled: int) -> PhaseResult:
    """Compares the warehouse of a stopped instance with the load's records in `folder`."""
    engine = clickhouse.embedded(str(data / "clickhouse"), clients=1)
    try:
        clicks = compare_clicks(
            {line.split()[1] for line in (folder / "clicks.txt").read_text().splitlines()},
            await engine.read(_CLICKS, _ClickRow),
        )
        conversions = compare_conversions(
            read_answers(folder),
            await engine.read(_CONVERSIONS, _ConversionRow),
            await _read_rejected_ids(engine),
            before_stop.without_outcome,
        )
    finally:
        await engine.close()
    return PhaseResult(clicks, conversions, before_stop.audit, before_stop.shed, spooled)


async def _read_rejected_ids(engine: ClickHouse) -> set[str]:
    bodies = await engine.read(_REJECTS, _RejectRow)
    return {msgspec.json.decode(row.body, type=_RejectedLine).conversion_id for row in bodies}


def describe(result: PhaseResult) -> list[str]:
    """Formats the totals as lines of text."""
    clicks, conversions, audit = result.clicks, result.conversions, result.audit
    answers = ", ".join(f"{count} x {status}" for status, count in conversions.answers.items())
    text = [
        f"clicks: acknowledged {clicks.acknowledged}, stored {clicks.stored},"
        f" missing {clicks.missing}, doubled {clicks.doubled}, shed {result.shed}",
        f"conversions: acknowledged {conversions.acknowledged} ({answers}),"
        f" stored {conversions.stored}, rejected as queued repeats {conversions.rejected},"
        f" missing {conversions.missing}, doubled {conversions.doubled},"
        f" orders stored twice {conversions.orders_doubled}",
    ]
    if audit is None:
        return [*text, "audit: no answer"]
    text += [
        f"balance of {s.stream}: accepted {s.accepted} = stored {s.stored} + rejected"
        f" {s.rejected} + waiting {s.waiting}, difference {s.difference}"
        for s in audit.balance.streams
    ]
    unequal = sum(cell.unequal for cell in audit.rollups)
    repeated = sum(row.ids for row in audit.repeated)
    text.append(
        f"audit: {'clean' if audit.clean else 'NOT CLEAN'}, rollup cells unequal {unequal},"
        f" ids stored twice {repeated}, spooled {result.spooled}"
    )
    return text
