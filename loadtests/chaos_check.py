"""What was acknowledged against what is stored: sets of ids, compared."""

from collections import Counter
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.conversion_ids import shard_of
from linkjolt.storage import clickhouse
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call
from loadtests.chaos_instance import Audit
from loadtests.chaos_load import Posted

_CLICKS = "SELECT click_id, sub1 FROM clicks WHERE account != 0"
_CONVERSIONS = (
    "SELECT conversion_id, order_id FROM conversions WHERE account != 0 AND kind = 'created'"
)
ANSWERED = (200, 201, 202, 409)
_PAGE = 500
_REJECTS = "SELECT body FROM rejects FINAL WHERE s % 2 = 1"


class _Click(msgspec.Struct, frozen=True):
    click_id: str
    sub1: str


class _Conversion(msgspec.Struct, frozen=True):
    conversion_id: str
    order_id: str


class _Reject(msgspec.Struct, frozen=True):
    body: str


class _Rejected(msgspec.Struct, frozen=True):
    conversion_id: str


class Clicks(msgspec.Struct, frozen=True):
    """`missing`: acknowledged, not stored; `doubled`: stored more often than once."""

    acknowledged: int
    stored: int
    missing: int
    doubled: int


class Conversions(msgspec.Struct, frozen=True):
    """Answers by status; `missing` also counts orders that were answered and are not stored."""

    answers: dict[int, int]
    acknowledged: int
    stored: int
    rejected: int
    missing: int
    doubled: int
    orders_doubled: int


class Found(msgspec.Struct, frozen=True):
    """All that is known of one phase at its end."""

    clicks: Clicks
    conversions: Conversions
    audit: Audit | None
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
        # A load of which nothing was answered shows nothing.
        return audited and self.clicks.acknowledged > 0 and not any(wrong)


def repeats(counts: Counter[str]) -> int:
    """How many are there beside the first of each."""
    return counts.total() - len(counts)


def compare_clicks(acknowledged: set[str], stored: list[_Click]) -> Clicks:
    """A click was sent once, under a number of its own: neither id nor number comes twice."""
    ids = Counter(click.click_id for click in stored)
    numbers = Counter(click.sub1 for click in stored)
    doubled = max(repeats(ids), repeats(numbers))
    return Clicks(len(acknowledged), len(stored), len(acknowledged - ids.keys()), doubled)


def compare_conversions(
    answers: list[Posted], stored: list[_Conversion], rejected: set[str], untold: set[str]
) -> Conversions:
    """A 201 and a 200 name a stored conversion, a 202 one whose outcome can be read, and the
    order of each, a 409's too, is stored."""
    ids = Counter(row.conversion_id for row in stored)
    orders = Counter(row.order_id for row in stored)
    missing = set[str]()
    known = [posted for posted in answers if posted.status in (200, 201, 202)]
    orders_answered = {posted.order_id for posted in answers if posted.status in ANSWERED}
    for posted in known:
        queued = posted.status == 202
        if posted.conversion_id in untold if queued else posted.conversion_id not in ids:
            missing.add(posted.conversion_id)
    missing |= orders_answered - orders.keys()
    acknowledged = {posted.conversion_id for posted in known}
    return Conversions(
        answers=dict(sorted(Counter(posted.status for posted in answers).items())),
        acknowledged=len(acknowledged),
        stored=len(stored),
        rejected=len(rejected),
        missing=len(missing),
        doubled=repeats(ids),
        orders_doubled=repeats(orders),
    )


class Last(msgspec.Struct, frozen=True):
    """What was seen before the instance was stopped; `untold` ids lead to no outcome."""

    audit: Audit | None
    shed: int
    untold: set[str]


def answers_in(folder: Path) -> list[Posted]:
    """The conversions that the load wrote down."""
    lines = (folder / "conversions.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Posted) for line in lines]


async def untold(redis: Redis, answers: list[Posted]) -> set[str]:
    """Conversion ids answered 202 under which nothing can be read."""
    queued = [posted.conversion_id for posted in answers if posted.status == 202]
    found = set[str]()
    for begin in range(0, len(queued), _PAGE):
        some = queued[begin : begin + _PAGE]
        keys = [redis_keys.conversion(shard_of(made) or 0, made) for made in some]
        held: list[bytes | None] = await call(redis, "MGET", *keys)
        found |= {made for made, value in zip(some, held, strict=True) if value is None}
    return found


async def compare(data: Path, folder: Path, last: Last, spooled: int) -> Found:
    """Reads the warehouse of a stopped instance, and what the load wrote down in `folder`."""
    engine = clickhouse.embedded(str(data / "clickhouse"), clients=1)
    try:
        clicks = compare_clicks(
            {line.split()[1] for line in (folder / "clicks.txt").read_text().splitlines()},
            await engine.read(_CLICKS, _Click),
        )
        conversions = compare_conversions(
            answers_in(folder),
            await engine.read(_CONVERSIONS, _Conversion),
            await _rejected(engine),
            last.untold,
        )
    finally:
        await engine.close()
    return Found(clicks, conversions, last.audit, last.shed, spooled)


async def _rejected(engine: ClickHouse) -> set[str]:
    bodies = await engine.read(_REJECTS, _Reject)
    return {msgspec.json.decode(row.body, type=_Rejected).conversion_id for row in bodies}


def lines(found: Found) -> list[str]:
    """The totals, for people."""
    clicks, conversions, audit = found.clicks, found.conversions, found.audit
    answers = ", ".join(f"{count} x {status}" for status, count in conversions.answers.items())
    text = [
        f"clicks: acknowledged {clicks.acknowledged}, stored {clicks.stored},"
        f" missing {clicks.missing}, doubled {clicks.doubled}, shed {found.shed}",
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
        f" ids stored twice {repeated}, spooled {found.spooled}"
    )
    return text
