"""Lists rejects, the dead letters, and replays them through their stream.

A replayed line is a new event, accepted and stored; its reject stays, so that the balance of its
hour stays even, and records when it was replayed.
"""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from aggregator.rows.batches import Reject
from aggregator.rows.enrich import click_time_ms
from aggregator.warehouse.writer import Warehouse
from linkjolt import redis_keys
from linkjolt.events import Click
from linkjolt.reasons import Reason, Rejected
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.lua import LuaScript, read_appending_script
from linkjolt.stream_lines import parse_fact

_FOLDER = Path(__file__).parent
_LIST = (_FOLDER / "sql" / "rejects.sql").read_text(encoding="utf-8")
_READ = (_FOLDER / "sql" / "reject.sql").read_text(encoding="utf-8")
_REPLAY = read_appending_script(_FOLDER / "replay.lua")
_REPLAYED = "replayed at "
_REPEATS = (Reason.repeated_event, Reason.repeated_order)
_PAGE = 1_000
_END = (1 << 64) - 1


class RejectPlace(msgspec.Struct, frozen=True):
    """The place of a rejected line: stream number, position, line of the frame (from 0)."""

    s: int
    pos: int
    line: int

    def __str__(self) -> str:
        return f"{self.s}/{self.pos}/{self.line}"


class ReplayResult(msgspec.Struct, frozen=True):
    """The outcome for one reject; `refusal` is '' if it was replayed."""

    place: RejectPlace
    refusal: str


def parse_place(text: str) -> RejectPlace:
    """Parses `S/POS/LINE`; Rejected for any other text."""
    parts = text.split("/")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise Rejected(Reason.invalid_field, f"{text} is no S/POS/LINE, as the list shows it")
    return RejectPlace(*map(int, parts))


def place_of(reject: Reject) -> RejectPlace:
    return RejectPlace(reject.s, reject.pos, reject.line)


async def list_rejects(
    clickhouse: ClickHouse,
    *,
    reason: str = "",
    limit: int,
    pending: bool = False,
    before: RejectPlace | None = None,
) -> list[Reject]:
    """Reads at most `limit` rejects, newest first; `pending`: only those not replayed yet."""
    place = before or RejectPlace(s=1 << 31, pos=_END, line=0)
    parameters = {"reason": reason, "limit": limit, "pending": int(pending), "replayed": _REPLAYED}
    return await clickhouse.read(_LIST, Reject, parameters | msgspec.structs.asdict(place))


async def read_reject(clickhouse: ClickHouse, place: RejectPlace) -> Reject:
    """Reads the reject of a place; Rejected if there is none."""
    rows = await clickhouse.read(_READ, Reject, msgspec.structs.asdict(place))
    if not rows:
        raise Rejected(Reason.not_found, f"there is no reject {place}")
    return rows[0]


async def replay(
    redis: Redis, clickhouse: ClickHouse, reject: Reject, *, force: bool
) -> ReplayResult:
    """Publishes the line again and records that; a crash between the two repeats it harmlessly.

    The event is marked as sent again, so that the aggregator rejects a repeat.
    """
    refusal = replay_refusal(reject, force=force)
    if not refusal:
        stream = redis_keys.stream(reject.s)
        publish = LuaScript(redis, _REPLAY)
        await publish([([stream.key, stream.ledger_key], [reject.body])])
        await Warehouse(clickhouse).insert_rejects([mark_replayed(reject, datetime.now(UTC))])
    return ReplayResult(place_of(reject), refusal)


async def replay_all(
    redis: Redis, clickhouse: ClickHouse, *, reason: str, force: bool
) -> list[ReplayResult]:
    """Replays every reject (of one reason) that can be, and returns refusals of the others."""
    return [
        await replay(redis, clickhouse, reject, force=force)
        async for reject in _read_all(clickhouse, reason, pending=not force)
    ]


async def _read_all(
    clickhouse: ClickHouse, reason: str, *, pending: bool
) -> AsyncGenerator[Reject]:
    before: RejectPlace | None = None
    while page := await list_rejects(
        clickhouse, reason=reason, limit=_PAGE, pending=pending, before=before
    ):
        for reject in page:
            yield reject
        before = place_of(page[-1])


def replay_refusal(reject: Reject, *, force: bool) -> str:
    """Returns why a reject cannot be replayed; '' if it can."""
    if reject.reason in _REPEATS:
        return f"{reject.reason}: the event is stored, there is nothing to replay"
    if reject.reason is Reason.purged:
        return "purged: a test event that was stored, and is deleted"
    if reject.message.startswith(_REPLAYED) and not force:
        return "it was replayed before; --force replays it again"
    try:
        if redis_keys.stream(reject.s).kind == "conversions":
            parse_fact(reject.body.encode())
        else:
            click_time_ms(msgspec.json.decode(reject.body, type=Click).click_id)
    except (msgspec.DecodeError, RecursionError, Rejected) as error:
        return f"it still cannot be read: {error}"
    return ""


def mark_replayed(reject: Reject, at: datetime) -> Reject:
    """Returns the reject with the instant of its replay before its message."""
    message = reject.message
    if message.startswith(_REPLAYED):
        message = message.partition("; ")[2]
    message = f"{_REPLAYED}{at:%Y-%m-%dT%H:%M:%SZ}; {message}"
    return msgspec.structs.replace(reject, message=message)
