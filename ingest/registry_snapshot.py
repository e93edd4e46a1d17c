"""Copies the registry to the edge's disk, so that redirects continue, and start, without Redis.

One private SQLite file per data directory; the edge that holds its lock keeps it up to date, and
all edges read it. It is only a copy of entries in Redis.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog
from redis.asyncio import Redis

from linkjolt.clicks.route import CouponRoute, Route, coupon_route
from linkjolt.datasets import Account
from linkjolt.registry.entries import (
    ENTRY_TYPES,
    AccountEntry,
    Affiliate,
    ApiKey,
    Campaign,
    Coupon,
    EntryKind,
    Link,
    OAuthClient,
    Rate,
)
from linkjolt.registry.keyring import Keyring
from linkjolt.registry.rates import RateTable
from linkjolt.registry.reads import (
    ENTRY_KINDS,
    FEED_START,
    E,
    decode_entry,
    feed_contains,
    read_changes,
    read_feed_end,
    read_last_number,
    read_raw,
)
from linkjolt.storage.redis import RedisError
from linkjolt.storage.sealing import Place, Sealer, SealError, is_sealed, sealed_by

_PAGE_ENTRIES = 1_000
_BLOCK_MS = 500
_LOCK_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    kind TEXT, number INTEGER, handle TEXT, body BLOB, PRIMARY KEY (kind, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_of_handle ON entries (handle);
CREATE TABLE IF NOT EXISTS former_secrets (digest TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS former_secrets_of_key ON former_secrets (number);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB);
"""
T = TypeVar("T")
# Not webhooks: no edge delivers any, and they hold secrets.
_COPIED_KINDS: tuple[EntryKind, ...] = tuple(
    kind for kind in ENTRY_TYPES if kind not in ("webhook", "user")
)
_KEYRING = Place("edge/registry.db", "keyring")
StoredEntry = tuple[EntryKind, int, bytes]
log = structlog.get_logger()


class _LookupFields(msgspec.Struct, frozen=True):
    """The fields by which a link, a key or a coupon is looked up."""

    tracking_code: str = ""
    digest: str = ""
    code: str = ""
    account: Account = Account(0)


class SqliteRegistrySnapshot:
    """Reads and updates the snapshot file; creates it if there is none."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_path = folder / "registry.lock"
        path = folder / "registry.db"
        os.close(os.open(path, os.O_CREAT, 0o600))
        self._database = sqlite3.connect(path, check_same_thread=False, timeout=10)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA secure_delete = ON")
        self._database.executescript(_SCHEMA)
        # One thread: one statement at a time, even where a waiter was cancelled.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")

    async def route(self, code: str) -> Route | None:
        """Returns the route of a tracking code, as last copied."""
        link = await self._entry(Link, "handle", code)
        return await self._route(link)

    async def route_by_number(self, number: int) -> Route | None:
        link = await self._entry(Link, "number", number)
        return await self._route(link)

    async def key(self, digest: str) -> ApiKey | None:
        """Returns the key of a digest if it was valid when last copied."""
        key = await self._entry(ApiKey, "handle", digest) or await self._key_of_former(digest)
        account = await self._entry(AccountEntry, "number", key.account) if key else None
        if key is None or key.deleted_at or (account and account.disabled_at):
            return None
        return key.found_by(digest)

    async def _key_of_former(self, digest: str) -> ApiKey | None:
        sql = "SELECT number FROM former_secrets WHERE digest = ?"
        row = await self._in_thread(lambda: self._database.execute(sql, (digest,)).fetchone())
        return await self._entry(ApiKey, "number", row[0]) if row else None

    async def account(self, number: int) -> AccountEntry | None:
        return await self._entry(AccountEntry, "number", number)

    async def client(self, number: int) -> OAuthClient | None:
        """Returns an OAuth client with its revoked tokens as last copied, a deleted one, too."""
        return await self._entry(OAuthClient, "number", number)

    async def coupon(self, account: Account, code: str) -> CouponRoute | None:
        """Returns the coupon of a code as last copied, if nothing of it was deleted then."""
        coupon = await self._entry(Coupon, "handle", _coupon_handle(account, code))
        if coupon is None:
            return None
        campaign = await self._entry(Campaign, "number", coupon.campaign)
        affiliate = await self._entry(Affiliate, "number", coupon.affiliate)
        return coupon_route(coupon, campaign, affiliate)

    async def rates(self, account: Account) -> RateTable:
        """Returns the account's exchange rates as last copied."""
        sql = "SELECT body FROM entries WHERE kind = 'rate' AND handle = ?"
        handle = _rate_handle(account)
        rows = await self._in_thread(lambda: self._database.execute(sql, (handle,)).fetchall())
        return RateTable(msgspec.json.decode(body, type=Rate) for (body,) in rows)

    async def _route(self, link: Link | None) -> Route | None:
        if link is None:
            return None
        campaign = await self._entry(Campaign, "number", link.campaign)
        affiliate = await self._entry(Affiliate, "number", link.affiliate)
        return Route(link, campaign, affiliate) if campaign and affiliate else None

    async def _entry(self, kind: type[E], column: str, value: str | int) -> E | None:
        sql = f"SELECT body FROM entries WHERE kind = ? AND {column} = ?"
        row = await self._in_thread(
            lambda: self._database.execute(sql, (ENTRY_KINDS[kind], value)).fetchone()
        )
        return decode_entry(row[0], kind) if row else None

    async def keyring(self, sealer: Sealer) -> Keyring | None:
        """Returns the secrets as last copied, by a release before sealing, too; else SealError."""
        raw = await self._read_meta("keyring")
        if raw and is_sealed(raw):
            raw = sealer.open(_KEYRING, raw)
        return msgspec.msgpack.decode(raw, type=Keyring) if raw else None

    async def store_keyring(self, keyring: Keyring, sealer: Sealer) -> None:
        """Stores the secrets, sealed by the key that seals now, unless they are there."""
        stored = await self._read_meta("keyring")
        if stored and sealed_by(stored) == {sealer.sealing_key().id}:
            with suppress(SealError):
                if await self.keyring(sealer) == keyring:
                    return
        sealed = sealer.seal(_KEYRING, msgspec.msgpack.encode(keyring)).encode()
        await self._in_thread(lambda: self._write([], {"keyring": sealed}))

    async def _read_meta(self, name: str) -> bytes | None:
        sql = "SELECT value FROM meta WHERE name = ?"
        row = await self._in_thread(lambda: self._database.execute(sql, (name,)).fetchone())
        return row[0] if row else None

    async def follow(self, redis: Redis) -> None:
        """Keeps the file up to date for ever, unless another edge holds its lock."""
        lock_fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        task = asyncio.current_task()
        try:
            while not (task and task.cancelling()):
                if not _try_lock(lock_fd):
                    await asyncio.sleep(_LOCK_SECONDS)
                    continue
                try:
                    await self._forget_plain_secrets()
                    await self._apply_changes(redis)
                except (RedisError, sqlite3.Error) as error:
                    log.warning("registry snapshot not updated", error=str(error)[:200])
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            os.close(lock_fd)

    async def _forget_plain_secrets(self) -> None:
        """Rewrites the file once: its free pages may hold what a former release stored plain."""
        stored = await self._read_meta("keyring")
        if not stored or not is_sealed(stored) or await self._read_meta("rewritten"):
            return

        def rewrite() -> None:
            self._database.execute("VACUUM")
            self._write([], {"rewritten": b"1"})
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        await self._in_thread(rewrite)

    async def _apply_changes(self, redis: Redis) -> None:
        position = (await self._read_meta("position") or b"").decode()
        if position in ("", FEED_START) or not await feed_contains(redis, position):
            await self._copy_all(redis)
            return
        position, changes = await read_changes(redis, position, _PAGE_ENTRIES, _BLOCK_MS)
        entries: list[StoredEntry] = []
        for kind in _COPIED_KINDS:
            numbers = {change.number for change in changes if change.kind == kind}
            entries += await _read_entries(redis, kind, numbers)
        await self._in_thread(lambda: self._write(entries, {"position": position.encode()}))

    async def _copy_all(self, redis: Redis) -> None:
        # The end is read first: changes made during the copy are applied after it.
        position = await read_feed_end(redis)
        for kind in _COPIED_KINDS:
            last_number = await read_last_number(redis, kind)
            for start in range(1, last_number + 1, _PAGE_ENTRIES):
                numbers = range(start, min(start + _PAGE_ENTRIES, last_number + 1))
                entries = await _read_entries(redis, kind, numbers)
                await self._in_thread(lambda entries=entries: self._write(entries, {}))
        await self._in_thread(lambda: self._write([], {"position": position.encode()}))
        if position == FEED_START:
            await asyncio.sleep(_RETRY_SECONDS)

    def _write(self, entries: Sequence[StoredEntry], meta: dict[str, bytes]) -> None:
        rows = [(kind, number, _lookup_handle(kind, body), body) for kind, number, body in entries]
        keys = [decode_entry(body, ApiKey) for kind, _, body in entries if kind == "key"]
        former = [(one.digest, key.number) for key in keys for one in key.former_secrets]
        with self._database as database:
            database.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)
            numbers = [(key.number,) for key in keys]
            database.executemany("DELETE FROM former_secrets WHERE number = ?", numbers)
            database.executemany("INSERT OR REPLACE INTO former_secrets VALUES (?, ?)", former)
            database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())

    async def _in_thread(self, run: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def close(self) -> None:
        await self._in_thread(self._database.close)
        self._thread.shutdown()


async def _read_entries(
    redis: Redis, kind: EntryKind, unsorted: Iterable[int]
) -> list[StoredEntry]:
    numbers = sorted(unsorted)
    bodies = await read_raw(redis, kind, numbers)
    return [
        (kind, number, _without_secret(body) if kind == "key" else body)
        for number, body in zip(numbers, bodies, strict=True)
        if body is not None
    ]


def _without_secret(body: bytes) -> bytes:
    # Signatures are verified with what Redis has.
    key = decode_entry(body, ApiKey)
    return msgspec.json.encode(msgspec.structs.replace(key, signing_secret=""))


def _lookup_handle(kind: EntryKind, body: bytes) -> str:
    handle = msgspec.json.decode(body, type=_LookupFields)
    if kind == "rate":
        return _rate_handle(handle.account)
    coupon = _coupon_handle(handle.account, handle.code) if handle.code else ""
    return handle.tracking_code or handle.digest or coupon


def _rate_handle(account: Account) -> str:
    return f"rates of {account}"


def _coupon_handle(account: Account, code: str) -> str:
    return f"{account}:{code}"


def _try_lock(lock_fd: int) -> bool:
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
