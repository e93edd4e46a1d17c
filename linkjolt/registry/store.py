"""Writes the registry in Redis, scoped by account: every write is one atomic script call."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Literal, cast

import msgspec
import structlog
from redis.asyncio import Redis

from linkjolt import datasets, redis_keys
from linkjolt.audit_log.entries import SYSTEM, AuditSource, encode_entry
from linkjolt.click_ids import LINK_NUMBER_MAX
from linkjolt.datasets import Account, Dataset
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import (
    ApiKey,
    Coupon,
    EntryKind,
    Link,
    OAuthClient,
    RegistryEntry,
    User,
    Webhook,
    public_id,
    sequence_of,
)
from linkjolt.registry.people import write as people
from linkjolt.registry.reads import (
    ENTRY_KINDS,
    E,
    decode_entry,
    read_entries,
    read_pointer,
    read_raw,
)
from linkjolt.registry.sealed.entries import SECRET_KINDS, seal_entry
from linkjolt.registry.tracking_codes import make_tracking_code
from linkjolt.registry.writes.audited_fields import changes_of
from linkjolt.registry.writes.replies import WriteReply, entry_or_raise, outcome_of
from linkjolt.runtime.loop_slices import in_slices
from linkjolt.storage.key_file import KeyFileError
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.redis import call
from linkjolt.storage.sealing import Sealer, sealed_by

PAGE_MAX = 1000
PATCH_ATTEMPTS_MAX = 10
_CODE_ATTEMPTS_MAX = 5
# Scripts sent at once. Redis reads them in one go, so more would make redirects wait.
_PIPELINE_CALLS_MAX = 200
_SCRIPT = read_script(Path(__file__).parent / "write.lua")
# The JSON that the writer read ('' for a new entry), and the entry to store.
_Change = tuple[bytes, E]
# The keys and the arguments of one call of the script.
_Write = tuple[list[str], list[str | bytes]]
# Webhooks belong to the dataset whose events they deliver, all else to the account.
Owner = Account | Dataset
_log = structlog.get_logger()


class EntryPage(msgspec.Struct, Generic[E], frozen=True):
    """A page of a list in order of number; `after` continues it, None ends it."""

    entries: list[E]
    after: int | None


class Registry:
    """Campaigns, affiliates, links, keys, coupons, webhooks, rates, OAuth clients and people.

    Secrets are stored sealed, and read so: `sealed.entries` opens them. Without a sealer no new
    ones can be written. What a write returns has a new secret as it was given.

    Raises Rejected: `not_found` for entries that are missing, deleted or another account's,
    `tracking_code_taken`, `coupon_code_taken`, `conflict`. RedisError passes through; then a write
    may or may not have been executed. The audit log says who wrote: `source`.
    """

    def __init__(
        self,
        redis: Redis,
        sealer: Sealer | None = None,
        make_code: Callable[[], str] = make_tracking_code,
        source: AuditSource = SYSTEM,
    ) -> None:
        self.redis = redis
        self.sealer = sealer
        self.source = source
        self._script = LuaScript(redis, _SCRIPT)
        self._user_script = LuaScript(redis, people.WRITE_SCRIPT)
        self._make_code = make_code

    @property
    def opener(self) -> Sealer:
        """Returns the sealer, which every process that serves the API has."""
        if self.sealer is None:
            raise RuntimeError("the registry was opened without a sealer")
        return self.sealer

    def written_by(self, source: AuditSource) -> "Registry":
        """Returns the same registry for the writes of one request."""
        return Registry(self.redis, self.sealer, self._make_code, source)

    async def audit(self, owner: Account, object_id: str) -> None:
        """Appends to the audit log what is written elsewhere than in the registry."""
        entry = encode_entry(self.source, owner, object_id, ())
        await call(self.redis, "XADD", redis_keys.AUDIT_REGISTRY, "*", "e", entry)

    async def create(self, entry: E) -> E:
        """Stores a new entry; assigns its number, and a code to a link without one."""
        outcome = (await self.create_many([entry]))[0]
        if isinstance(outcome, Rejected):
            raise outcome
        return outcome

    async def create_webhook(self, webhook: Webhook, most: int) -> Webhook:
        """Stores a new endpoint, unless its account has `most` of them, with those of test keys."""
        number = await self._reserve_numbers("webhook", 1)
        created = msgspec.structs.replace(webhook, number=number)
        [reply] = await self._write([(b"", created)], most)
        if reply == WriteReply.full:
            message = f"the account has {most} webhooks, the most that it may have"
            raise Rejected(Reason.limit_reached, message)
        return entry_or_raise(created, reply)

    async def create_many(self, entries: Sequence[E]) -> list[E | Rejected]:
        """Stores new entries of one kind; returns one outcome per entry, in order."""
        if not entries:
            return []
        first = await self._reserve_numbers(ENTRY_KINDS[type(entries[0])], len(entries))
        return await self._insert(
            [msgspec.structs.replace(entry, number=first + i) for i, entry in enumerate(entries)],
            _CODE_ATTEMPTS_MAX,
        )

    async def get(self, kind: type[E], owner: Owner, number: int) -> E:
        return (await self._read_visible(kind, owner, number))[1]

    async def link_by_code(self, owner: Account, code: str) -> Link:
        number = await read_pointer(self.redis, redis_keys.tracking_code(code))
        if number is None:
            raise _not_found("link")
        return await self.get(Link, owner, number)

    async def page(
        self, kind: type[E], owner: Owner, after: int = 0, limit: int = 100
    ) -> EntryPage[E]:
        """Returns up to `limit` entries with numbers above `after`, without deleted ones."""
        index = redis_keys.registry_index(ENTRY_KINDS[kind], owner)
        reply = await cast(Any, self.redis).zrangebyscore(
            index, f"({after}", "+inf", start=0, num=limit + 1
        )
        numbers = [int(number) for number in reply]
        loaded = await read_entries(self.redis, kind, numbers[:limit])
        # An entry may have been deleted between the two reads.
        entries = [entry for entry in loaded if entry is not None and entry.deleted_at is None]
        return EntryPage(entries, numbers[limit - 1] if len(numbers) > limit else None)

    async def count(self, kind: type[E], owner: Owner) -> int:
        """Counts the entries of a kind that are not deleted."""
        index = redis_keys.registry_index(ENTRY_KINDS[kind], owner)
        return await self.redis.zcard(index)

    async def iterate(self, kind: type[E], owner: Owner) -> AsyncIterator[E]:
        """Yields all entries of a kind in order of number."""
        after: int | None = 0
        while after is not None:
            page = await self.page(kind, owner, after, PAGE_MAX)
            for entry in page.entries:
                yield entry
            after = page.after

    async def existing(self, kind: type[E], owner: Owner, numbers: set[int]) -> set[int]:
        """Returns those of the numbers that are entries of the account and not deleted."""
        loaded = await read_entries(self.redis, kind, sorted(numbers))
        return {e.number for e in loaded if e and e.account == owner and e.deleted_at is None}

    async def patch(self, kind: type[E], owner: Owner, number: int, change: Callable[[E], E]) -> E:
        """Stores `change(entry)`; never over a write that `change` did not see."""
        for _ in range(PATCH_ATTEMPTS_MAX):
            raw, before = await self._read_visible(kind, owner, number)
            after = change(before)
            if after == before:
                return before
            reply = await self._replace(raw, before, after)
            if reply != WriteReply.changed:
                return entry_or_raise(after, reply)
        message = "the entry is being changed by other requests: try again"
        raise Rejected(Reason.conflict, message)

    async def delete(
        self,
        kind: type[E],
        owner: Owner,
        number: int,
        now: datetime,
        check: Callable[[E], None] | None = None,
    ) -> None:
        """Marks an entry that passes `check` as deleted.

        A link's code stays reserved, a key becomes invalid.
        """

        def deleted(entry: E) -> E:
            if check:
                check(entry)
            left = people.without_personal_data(entry) if isinstance(entry, User) else entry
            return msgspec.structs.replace(left, deleted_at=now)

        await self.patch(kind, owner, number, deleted)

    async def user_by_email(self, email: str) -> User | None:
        """Returns the person who has an address, of any account; as many reads for nobody."""
        number = await read_pointer(self.redis, redis_keys.user_email(email))
        user = (await read_entries(self.redis, User, [number or 0]))[0]
        return user if user and user.email == email and user.deleted_at is None else None

    async def _replace(self, raw: bytes, before: E, after: E) -> object:
        if isinstance(before, User) and isinstance(after, User):
            return await self._replace_user(raw, before, after)
        return (await self._write([(raw, after)]))[0]

    async def _replace_user(self, raw: bytes, before: User, after: User) -> object:
        sealed = self._sealed(after)
        assert isinstance(sealed, User)
        audited = self._audited(raw, after)
        write = people.user_write(raw, before, sealed, _state_of(sealed), audited)
        reply = (await self._user_script.outcomes([write]))[0]
        if reply != WriteReply.retired or self.sealer is None:
            return reply
        # As `_write_retired`.
        self.sealer.retire(*sealed_by(write[1][1]))
        return await self._replace_user(raw, before, after)

    async def _read_visible(self, kind: type[E], owner: Owner, number: int) -> tuple[bytes, E]:
        raw = (await read_raw(self.redis, ENTRY_KINDS[kind], [number]))[0]
        entry = None if raw is None else decode_entry(raw, kind)
        if raw is None or not entry or entry.account != owner or entry.deleted_at is not None:
            raise _not_found(ENTRY_KINDS[kind])
        return raw, entry

    async def _reserve_numbers(self, kind: EntryKind, count: int) -> int:
        last = await self.redis.hincrby(redis_keys.REGISTRY_NUMBERS, sequence_of(kind), count)
        if last > LINK_NUMBER_MAX:
            raise Rejected(Reason.conflict, f"the numbers of {kind}s are used up")
        return last - count + 1

    async def _insert(self, entries: Sequence[E], attempts_left: int) -> list[E | Rejected]:
        coded = [self._with_code(entry) async for entry in in_slices(entries)]
        replies = await self._write([(b"", entry) for entry in coded])
        outcomes = [outcome_of(entry, reply) for entry, reply in zip(coded, replies, strict=True)]
        # A generated code was taken by chance: generate another.
        collisions = [
            index
            for index, reply in enumerate(replies)
            if reply == WriteReply.taken and coded[index] is not entries[index]
        ]
        if collisions and attempts_left > 1:
            retried = await self._insert(
                [entries[index] for index in collisions], attempts_left - 1
            )
            for index, outcome in zip(collisions, retried, strict=True):
                outcomes[index] = outcome
        return outcomes

    def _with_code(self, entry: E) -> E:
        if isinstance(entry, Link) and not entry.tracking_code:
            return msgspec.structs.replace(entry, tracking_code=self._make_code())
        return entry

    async def _write(self, changes: Sequence[_Change[E]], most: int | None = None) -> list[object]:
        writes = [self._entry_write(*change, most) async for change in in_slices(changes)]
        replies: list[object] = []
        for start in range(0, len(writes), _PIPELINE_CALLS_MAX):
            replies += await self._script.outcomes(writes[start : start + _PIPELINE_CALLS_MAX])
        return await self._write_retired(changes, writes, replies, most)

    async def _write_retired(
        self,
        changes: Sequence[_Change[E]],
        writes: Sequence[_Write],
        replies: list[object],
        most: int | None,
    ) -> list[object]:
        """Writes those again whose secrets were sealed by a key that a rotation just replaced."""
        retired = [i for i, reply in enumerate(replies) if reply == WriteReply.retired]
        if not retired or self.sealer is None:
            return replies
        for index in retired:
            self.sealer.retire(*sealed_by(writes[index][1][1]))
        again = await self._write([changes[index] for index in retired], most)
        for index, reply in zip(retired, again, strict=True):
            replies[index] = reply
        return replies

    def _entry_write(self, expected: bytes, entry: E, most: int | None) -> _Write:
        kind = ENTRY_KINDS[type(entry)]
        keys = [
            redis_keys.registry_entry(kind, entry.number),
            redis_keys.registry_index(kind, entry.account),
            redis_keys.REGISTRY_CHANGES,
            redis_keys.AUDIT_REGISTRY,
            *_pointer_keys(entry),
        ]
        body = msgspec.json.encode(self._sealed(entry) if kind in SECRET_KINDS else entry)
        state = _state_of(entry) if expected else "live"
        bound = ""
        if most is not None:
            keys.append(_index_of_other_mode(kind, entry.account))
            bound = str(most)
        # What was there already, a rotation finds; a deletion must not depend on it.
        key_ids = sealed_by(body) - sealed_by(expected) if kind in SECRET_KINDS else ()
        if key_ids:
            keys.append(redis_keys.SECRETS)
        arguments = [expected, body, str(entry.number), kind, state, bound, " ".join(key_ids)]
        return keys, [*arguments, self._audited(expected, entry)]

    def _audited(self, expected: bytes, entry: RegistryEntry) -> bytes:
        kind = cast(Any, type(entry))
        before: RegistryEntry | None = decode_entry(expected, kind) if expected else None
        # What belongs to the installation is the operator's.
        owner = datasets.account_of(Dataset(entry.account)) or datasets.ACCOUNT_DEFAULT
        identity = public_id(ENTRY_KINDS[type(entry)], entry.number)
        return encode_entry(self.source, owner, identity, changes_of(before, entry))

    def _sealed(self, entry: RegistryEntry) -> RegistryEntry:
        try:
            return seal_entry(entry, self.sealer)
        except KeyFileError as error:
            _log.error("secret not sealed", error=str(error))
            raise Rejected(Reason.unavailable, "secrets cannot be sealed now") from None


def _index_of_other_mode(kind: EntryKind, dataset: Owner) -> str:
    account = datasets.account_of(Dataset(dataset))
    test = datasets.is_test(Dataset(dataset))
    other = datasets.live_dataset(account) if test else datasets.dataset_of_tests(account)
    return redis_keys.registry_index(kind, other)


def _state_of(entry: RegistryEntry) -> Literal["live", "stopped", "deleted"]:
    """Returns whether a write takes something away, which works when Redis is full, too."""
    if entry.deleted_at:
        return "deleted"
    if isinstance(entry, OAuthClient) and entry.revision:
        return "stopped"
    status: str = getattr(entry, "status", "active")
    return "live" if status == "active" else "stopped"


def _pointer_keys(entry: RegistryEntry) -> list[str]:
    match entry:
        case Link():
            return [redis_keys.tracking_code(entry.tracking_code)]
        case ApiKey():
            return [redis_keys.key_digest(entry.digest)]
        case Coupon():
            return [redis_keys.coupon_code(entry.account, entry.code)]
        case User(email=str(email)) if email:
            return [redis_keys.user_email(email)]
        case _:
            return []


def _not_found(kind: EntryKind) -> Rejected:
    return Rejected(Reason.not_found, f"there is no such {kind}")
