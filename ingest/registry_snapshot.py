"""The registry on the edge's own disk, so that redirects go on, and start, without Redis.

One SQLite file a data directory, private; the edge that holds its lock keeps it up to date, all
edges read it. It is a copy: whatever it lacks is in Redis.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.clicks.route import CouponRoute, Route
from linkjolt.registry.entries import TYPES, Affiliate, ApiKey, Campaign, Coupon, Kind, Link
from linkjolt.registry.keyring import Keyring
from linkjolt.registry.reads import KINDS, ORIGIN, E, feed_after, feed_end, feed_holds, read_raw
from linkjolt.storage.redis import RedisError, call

_PAGE = 1_000
_BLOCK_MS = 500
_LOCK_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    kind TEXT, number INTEGER, handle TEXT, body BLOB, PRIMARY KEY (kind, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_of_handle ON entries (handle);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB);
"""
T = TypeVar("T")
# Not the webhooks: no edge delivers any, and they hold their secrets.
_COPIED: tuple[Kind, ...] = tuple(kind for kind in TYPES if kind != "webhook")
Stored = tuple[Kind, int, bytes]
log = structlog.get_logger()


class _Handle(msgspec.Struct, frozen=True):
    """By what a link, a key or a coupon is looked up."""

    tracking_code: str = ""
    digest: str = ""
    code: str = ""
    account: int = 0


class Snapshot:
    """One process's view of the file, which is made if there is none."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_path = folder / "registry.lock"
        path = folder / "registry.db"
        os.close(os.open(path, os.O_CREAT, 0o600))
        self._database = sqlite3.connect(path, check_same_thread=False, timeout=10)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.executescript(_SCHEMA)
        # One thread, one statement at a time, whoever stopped waiting for its answer.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")

    async def route(self, code: str) -> Route | None:
        """The route of a tracking code, as last copied."""
        link = await self._entry(Link, "handle", code)
        return await self._route(link)

    async def route_by_number(self, number: int) -> Route | None:
        link = await self._entry(Link, "number", number)
        return await self._route(link)

    async def key(self, digest: str) -> ApiKey | None:
        """The key of a digest if it was not revoked when last copied."""
        key = await self._entry(ApiKey, "handle", digest)
        return key if key and key.deleted_at is None else None

    async def coupon(self, account: int, code: str) -> CouponRoute | None:
        """The coupon of a code if it was not deleted when last copied."""
        coupon = await self._entry(Coupon, "handle", _coupon_handle(account, code))
        if coupon is None or coupon.deleted_at is not None:
            return None
        campaign = await self._entry(Campaign, "number", coupon.campaign)
        affiliate = await self._entry(Affiliate, "number", coupon.affiliate)
        return CouponRoute(coupon, campaign, affiliate) if campaign and affiliate else None

    async def _route(self, link: Link | None) -> Route | None:
        if link is None:
            return None
        campaign = await self._entry(Campaign, "number", link.campaign)
        affiliate = await self._entry(Affiliate, "number", link.affiliate)
        return Route(link, campaign, affiliate) if campaign and affiliate else None

    async def _entry(self, kind: type[E], column: str, value: str | int) -> E | None:
        sql = f"SELECT body FROM entries WHERE kind = ? AND {column} = ?"
        row = await self._run(lambda: self._database.execute(sql, (KINDS[kind], value)).fetchone())
        return msgspec.json.decode(row[0], type=kind) if row else None

    async def keyring(self) -> Keyring | None:
        """The secrets as last copied."""
        raw = await self._meta("keyring")
        return msgspec.msgpack.decode(raw, type=Keyring) if raw else None

    async def keep_keyring(self, keyring: Keyring) -> None:
        await self._run(lambda: self._write([], {"keyring": msgspec.msgpack.encode(keyring)}))

    async def _meta(self, name: str) -> bytes | None:
        sql = "SELECT value FROM meta WHERE name = ?"
        row = await self._run(lambda: self._database.execute(sql, (name,)).fetchone())
        return row[0] if row else None

    async def follow(self, redis: Redis) -> None:
        """Keeps the file up to date for ever, while no other edge does."""
        lock_fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        task = asyncio.current_task()
        try:
            while not (task and task.cancelling()):
                if not _locked(lock_fd):
                    await asyncio.sleep(_LOCK_SECONDS)
                    continue
                try:
                    await self._follow_once(redis)
                except (RedisError, sqlite3.Error) as error:
                    log.warning("registry snapshot not updated", error=str(error)[:200])
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            os.close(lock_fd)

    async def _follow_once(self, redis: Redis) -> None:
        position = (await self._meta("position") or b"").decode()
        if position in ("", ORIGIN) or not await feed_holds(redis, position):
            await self._copy_all(redis)
            return
        position, changes = await feed_after(redis, position, _PAGE, _BLOCK_MS)
        entries: list[Stored] = []
        for kind in _COPIED:
            wanted = {change.number for change in changes if change.kind == kind}
            entries += await _read(redis, kind, wanted)
        await self._run(lambda: self._write(entries, {"position": position.encode()}))

    async def _copy_all(self, redis: Redis) -> None:
        # The end first: what changes while the copy is made comes again behind it.
        position = await feed_end(redis)
        for kind in _COPIED:
            made = int(await call(redis, "HGET", redis_keys.REGISTRY_NUMBERS, kind) or 0)
            for start in range(1, made + 1, _PAGE):
                numbers = range(start, min(start + _PAGE, made + 1))
                entries = await _read(redis, kind, numbers)
                await self._run(lambda entries=entries: self._write(entries, {}))
        await self._run(lambda: self._write([], {"position": position.encode()}))
        if position == ORIGIN:
            await asyncio.sleep(_RETRY_SECONDS)

    def _write(self, entries: Sequence[Stored], meta: dict[str, bytes]) -> None:
        rows = [(kind, number, _handle(body), body) for kind, number, body in entries]
        with self._database as database:
            database.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)
            database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())

    async def _run(self, run: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def close(self) -> None:
        await self._run(self._database.close)
        self._thread.shutdown()


async def _read(redis: Redis, kind: Kind, wanted: Iterable[int]) -> list[Stored]:
    numbers = sorted(wanted)
    bodies = await read_raw(redis, kind, numbers)
    return [(kind, n, body) for n, body in zip(numbers, bodies, strict=True) if body is not None]


def _handle(body: bytes) -> str:
    handle = msgspec.json.decode(body, type=_Handle)
    coupon = _coupon_handle(handle.account, handle.code) if handle.code else ""
    return handle.tracking_code or handle.digest or coupon


def _coupon_handle(account: int, code: str) -> str:
    return f"{account}:{code}"


def _locked(lock_fd: int) -> bool:
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
