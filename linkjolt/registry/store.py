"""The registry in Redis, scoped by account: every write is one atomic script call."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from hashlib import sha1
from importlib.resources import files
from typing import Any, Generic, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from linkjolt import redis_keys
from linkjolt.click_ids import LINK_MAX
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey, Coupon, Entry, Kind, Link
from linkjolt.registry.reads import KINDS, E, read_entries, read_pointer, read_raw
from linkjolt.registry.tracking_codes import make_tracking_code

PAGE_MAX = 1000
PATCH_TRIES = 10
_CODE_TRIES = 5
# Scripts sent at once. Redis reads them in one go, so more would make redirects wait.
_PIPELINE = 200
_SCRIPT = files("linkjolt.registry").joinpath("write.lua").read_text(encoding="utf-8")
_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Entries(msgspec.Struct, Generic[E], frozen=True):
    """A page of a list by rising number; `after` continues it, None ends it."""

    entries: list[E]
    after: int | None


class Registry:
    """Campaigns, affiliates, links and keys.

    Rejected: `not_found` for what is absent, deleted or another account's, `tracking_code_taken`,
    `conflict`. RedisError passes through, and then a write may have happened or not.
    """

    def __init__(self, redis: Redis, make_code: Callable[[], str] = make_tracking_code) -> None:
        self.redis = redis
        self._make_code = make_code

    async def create(self, entry: E) -> E:
        """Stores a new entry; gives it its number, and a link without a code one."""
        outcome = (await self.create_many([entry]))[0]
        if isinstance(outcome, Rejected):
            raise outcome
        return outcome

    async def create_many(self, entries: Sequence[E]) -> list[E | Rejected]:
        """Stores new entries of one kind; one outcome per entry, in order."""
        if not entries:
            return []
        first = await self._reserve(KINDS[type(entries[0])], len(entries))
        return await self._insert(
            [msgspec.structs.replace(entry, number=first + i) for i, entry in enumerate(entries)],
            _CODE_TRIES,
        )

    async def get(self, kind: type[E], account: int, number: int) -> E:
        return (await self._seen(kind, account, number))[1]

    async def link_by_code(self, account: int, code: str) -> Link:
        number = await read_pointer(self.redis, redis_keys.tracking_code(code))
        if number is None:
            raise _not_found("link")
        return await self.get(Link, account, number)

    async def page(
        self, kind: type[E], account: int, after: int = 0, limit: int = 100
    ) -> Entries[E]:
        """Up to `limit` entries with numbers above `after`, deleted ones left out."""
        index = redis_keys.registry_index(KINDS[kind], account)
        reply = await cast(Any, self.redis).zrangebyscore(
            index, f"({after}", "+inf", start=0, num=limit + 1
        )
        numbers = [int(number) for number in reply]
        found = await read_entries(self.redis, kind, numbers[:limit])
        # One may have been deleted between the two reads.
        entries = [entry for entry in found if entry is not None and entry.deleted_at is None]
        return Entries(entries, numbers[limit - 1] if len(numbers) > limit else None)

    async def each(self, kind: type[E], account: int) -> AsyncIterator[E]:
        """All entries of a kind by rising number."""
        after: int | None = 0
        while after is not None:
            page = await self.page(kind, account, after, PAGE_MAX)
            for entry in page.entries:
                yield entry
            after = page.after

    async def existing(self, kind: type[E], account: int, numbers: set[int]) -> set[int]:
        """Those of the numbers that are entries of the account and not deleted."""
        found = await read_entries(self.redis, kind, sorted(numbers))
        return {e.number for e in found if e and e.account == account and e.deleted_at is None}

    async def patch(self, kind: type[E], account: int, number: int, change: Callable[[E], E]) -> E:
        """Stores `change(entry)`; never over a write that `change` did not see."""
        for _ in range(PATCH_TRIES):
            raw, before = await self._seen(kind, account, number)
            after = change(before)
            if after == before:
                return before
            reply = (await self._write([_write(raw, after)]))[0]
            if reply != b"changed":
                return _accepted(after, reply)
        message = "is being changed by other requests; try again"
        raise Rejected(Reason.conflict, message)

    async def delete(self, kind: type[E], account: int, number: int, now: datetime) -> None:
        """Marks as deleted; a link's code stays reserved, a key is refused from now on."""
        await self.patch(
            kind, account, number, lambda entry: msgspec.structs.replace(entry, deleted_at=now)
        )

    async def _seen(self, kind: type[E], account: int, number: int) -> tuple[bytes, E]:
        raw = (await read_raw(self.redis, KINDS[kind], [number]))[0]
        entry = None if raw is None else msgspec.json.decode(raw, type=kind)
        if raw is None or not entry or entry.account != account or entry.deleted_at is not None:
            raise _not_found(KINDS[kind])
        return raw, entry

    async def _reserve(self, kind: Kind, count: int) -> int:
        last = await self.redis.hincrby(redis_keys.REGISTRY_NUMBERS, kind, count)
        if last > LINK_MAX:
            raise Rejected(Reason.conflict, f"the numbers of {kind}s are used up")
        return last - count + 1

    async def _insert(self, entries: Sequence[E], tries: int) -> list[E | Rejected]:
        coded = [self._with_code(entry) for entry in entries]
        replies = await self._write([_write(b"", entry) for entry in coded])
        outcomes = [_outcome(entry, reply) for entry, reply in zip(coded, replies, strict=True)]
        # A code of our own making that was taken by chance: make another.
        unlucky = [
            index
            for index, reply in enumerate(replies)
            if reply == b"taken" and coded[index] is not entries[index]
        ]
        if unlucky and tries > 1:
            again = await self._insert([entries[index] for index in unlucky], tries - 1)
            for index, outcome in zip(unlucky, again, strict=True):
                outcomes[index] = outcome
        return outcomes

    def _with_code(self, entry: E) -> E:
        if isinstance(entry, Link) and not entry.tracking_code:
            return msgspec.structs.replace(entry, tracking_code=self._make_code())
        return entry

    async def _write(self, writes: Sequence["_Write"]) -> list[object]:
        replies: list[object] = []
        for start in range(0, len(writes), _PIPELINE):
            chunk = writes[start : start + _PIPELINE]
            sent = await self._send(chunk)
            if any(isinstance(reply, NoScriptError) for reply in sent):
                # Those that ran found it loaded by someone else meanwhile: send only the others.
                await self.redis.script_load(_SCRIPT)
                missed = [i for i, reply in enumerate(sent) if isinstance(reply, NoScriptError)]
                again = await self._send([chunk[i] for i in missed])
                for i, reply in zip(missed, again, strict=True):
                    sent[i] = reply
            replies += sent
        return replies

    async def _send(self, writes: Sequence["_Write"]) -> list[object]:
        async with self.redis.pipeline(transaction=False) as pipe:
            for write in writes:
                keys, arguments = cast(list[Any], write.keys), cast(list[Any], write.arguments)
                pipe.evalsha(_SHA, len(keys), *keys, *arguments)
            return cast(list[object], await pipe.execute(raise_on_error=False))


class _Write(msgspec.Struct, frozen=True):
    """One call of the script."""

    keys: list[str]
    arguments: list[str | bytes]


def _write(seen: bytes, entry: Entry) -> _Write:
    kind = KINDS[type(entry)]
    keys = [
        redis_keys.registry_entry(kind, entry.number),
        redis_keys.registry_index(kind, entry.account),
        redis_keys.REGISTRY_CHANGES,
        *_pointer(entry),
    ]
    deleted = "1" if entry.deleted_at else "0"
    return _Write(keys, [seen, msgspec.json.encode(entry), str(entry.number), kind, deleted])


def _pointer(entry: Entry) -> list[str]:
    match entry:
        case Link():
            return [redis_keys.tracking_code(entry.tracking_code)]
        case ApiKey():
            return [redis_keys.key_digest(entry.digest)]
        case Coupon():
            return [redis_keys.coupon_code(entry.account, entry.code)]
        case _:
            return []


def _not_found(kind: Kind) -> Rejected:
    return Rejected(Reason.not_found, f"there is no such {kind}")


def _outcome(entry: E, reply: object) -> E | Rejected:
    if reply == b"written":
        return entry
    if reply == b"taken" and isinstance(entry, Link):
        message = f"{entry.tracking_code} is taken"
        return Rejected(Reason.tracking_code_taken, message, field="tracking_code")
    if reply == b"taken" and isinstance(entry, Coupon):
        message = f"{entry.code} is taken"
        return Rejected(Reason.coupon_code_taken, message, field="code")
    if isinstance(reply, ResponseError):
        return Rejected(Reason.unavailable, "the registry takes no writes now; try again")
    if isinstance(reply, Exception):
        raise reply
    return Rejected(Reason.conflict, f"{KINDS[type(entry)]} {entry.number} exists already")


def _accepted(entry: E, reply: object) -> E:
    outcome = _outcome(entry, reply)
    if isinstance(outcome, Rejected):
        raise outcome
    return outcome
