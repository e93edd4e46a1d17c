"""Reads how much waits for each endpoint, and computes how much may.

Together the endpoints get a share of Redis. Each may use as much as is still free of it: one gets
half of it, many get equal parts, and each its own bound at most.
"""

import time
from collections.abc import Mapping, Sequence

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.reasons import Reason, Rejected
from linkjolt.redis_keys import Stream
from linkjolt.storage.redis import call
from linkjolt.webhooks.deliveries.delivery import format_key

# Parts of what Redis may use: of its default of 2 GiB, 256 and 64 MiB.
_PENDING_PART = 8
_LOG_PART = 32
_UNBOUNDED_REDIS_BYTES = 2 << 30


class BacklogRange(msgspec.Struct, frozen=True, kw_only=True):
    """Events that the warehouse holds and the queue does not, from `start` to `end`, both sorting.

    The name of one of a stream begins with its number, and positions of 20 digits are its ends;
    `closing`: later events are queued again. That of a replay begins with `r`, and `format_key`
    makes its ends; it is of deliveries finished by `asked_ms`, or of the one with the id `only`.
    """

    name: str
    start: str
    end: str
    closing: bool = False
    asked_ms: int = 0
    only: str = ""

    @property
    def is_replay(self) -> bool:
        return self.name.startswith("r")

    @property
    def stream(self) -> Stream:
        return redis_keys.stream(int(self.name.rstrip("+t")))


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for one endpoint; `dropped` entries of its log were never stored."""

    pending: int = 0
    unstored: int = 0
    pending_bytes: int = 0
    log_bytes: int = 0
    dropped: int = 0
    ranges: tuple[BacklogRange, ...] = ()


class QueueBounds(msgspec.Struct, frozen=True, kw_only=True):
    """The most that may wait for one endpoint."""

    pending: int = 100_000
    pending_bytes: int = 64 << 20
    log_bytes: int = 32 << 20


# Replays of one endpoint that wait for their turn.
REPLAYS_MAX = 10
# Behind every place of a range: it ends.
RANGE_DONE = "~"
FULL = QueueBounds(pending=0, pending_bytes=0, log_bytes=0)


def bounds_now(
    bounds: QueueBounds, backlogs: Sequence[Backlog], redis_max_bytes: int
) -> QueueBounds:
    """Narrows the bounds of one endpoint to the share of Redis that is still free.

    `redis_max_bytes` is the bound of Redis itself, 0 if it has none.
    """
    most = redis_max_bytes or _UNBOUNDED_REDIS_BYTES
    pending_free = most // _PENDING_PART - sum(backlog.pending_bytes for backlog in backlogs)
    log_free = most // _LOG_PART - sum(backlog.log_bytes for backlog in backlogs)
    return QueueBounds(
        pending=bounds.pending,
        pending_bytes=max(0, min(bounds.pending_bytes, pending_free)),
        log_bytes=max(0, min(bounds.log_bytes, log_free)),
    )


async def read_backlogs(redis: Redis, webhooks: Sequence[int]) -> dict[int, Backlog]:
    """Reads the backlogs of these endpoints."""
    if not webhooks:
        return {}
    async with redis.pipeline(transaction=False) as pipe:
        for webhook in webhooks:
            pipe.execute_command("HLEN", redis_keys.webhook_pending(webhook))  # pyright: ignore[reportUnknownMemberType]
            pipe.execute_command("XLEN", redis_keys.webhook_finished(webhook))  # pyright: ignore[reportUnknownMemberType]
            pipe.execute_command("HGETALL", redis_keys.webhook_backlog(webhook))  # pyright: ignore[reportUnknownMemberType]
        replies = await pipe.execute()
    return {
        webhook: _backlog(*replies[3 * index : 3 * index + 3])
        for index, webhook in enumerate(webhooks)
    }


def skipped_range_name(stream: Stream) -> str:
    """Names the range of a stream's entries that were trimmed before the feed read them."""
    return f"{stream.number}t"


async def record_replay(
    redis: Redis, webhook: int, from_ms: int, to_ms: int, *, asked_ms: int, only: str = ""
) -> None:
    """Records that finished deliveries are to be queued again, from the log in the warehouse.

    They are those of events in [from, to) that were finished by `asked_ms`, or one of them.
    """
    backlog = (await read_backlogs(redis, [webhook]))[webhook]
    if sum(one.is_replay for one in backlog.ranges) >= REPLAYS_MAX:
        message = f"{REPLAYS_MAX} replays of this webhook are waiting for their turn"
        raise Rejected(Reason.limit_reached, message)
    name = f"r{time.time_ns()}"
    fields: list[str | int] = ["from:" + name, format_key((from_ms, 0, ""))]
    fields += ["to:" + name, format_key((to_ms, 0, "")), "asked:" + name, asked_ms]
    if only:
        fields += ["only:" + name, only]
    await call(redis, "HSET", redis_keys.webhook_backlog(webhook), *fields)


async def read_redis_max_bytes(redis: Redis) -> int:
    """Reads how much memory Redis may use; 0 if it has no bound."""
    return int((await call(redis, "INFO", "memory"))["maxmemory"])


def _backlog(pending: int, unstored: int, raw: Mapping[bytes, bytes]) -> Backlog:
    fields = {name.decode(): value.decode() for name, value in raw.items()}
    names = [name.removeprefix("from:") for name in fields if name.startswith("from:")]
    return Backlog(
        pending=pending,
        unstored=unstored,
        pending_bytes=int(fields.get("bytes", 0)),
        log_bytes=int(fields.get("log_bytes", 0)),
        dropped=int(fields.get("dropped", 0)),
        ranges=tuple(
            BacklogRange(
                name=name,
                start=fields[f"from:{name}"],
                end=fields[f"to:{name}"],
                closing=f"closing:{name}" in fields,
                asked_ms=int(fields.get(f"asked:{name}", 0)),
                only=fields.get(f"only:{name}", ""),
            )
            for name in sorted(names, key=lambda name: (fields[f"from:{name}"], name))
        ),
    )
