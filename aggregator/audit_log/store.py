"""Moves the audit log from Redis streams to the warehouse: each entry once, in chains of hashes.

Whatever stops it, the next step reads the entries again and leaves out those that are stored. On a
server an insert carries a token, so that of two aggregators one continues the chains.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from aggregator import metrics
from aggregator.audit_log.chain import (
    COLUMNS,
    EMPTY_CHAIN,
    AuditRow,
    ChainHead,
    chain_row,
    head_arguments,
    read_heads,
)
from aggregator.delivery.lease import AuditLogLease, LeaseLost, Leases
from aggregator.warehouse.insert_tokens import InsertStart, insert_once
from linkjolt import redis_keys
from linkjolt.audit_log.entries import AuditEntry
from linkjolt.datasets import ACCOUNT_DEFAULT, Account
from linkjolt.fault_points import fault
from linkjolt.logs import MinuteLine
from linkjolt.position import position, time_ms
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.redis import call, read_stream

_TABLE = "audit_log"
_FOLDER = Path(__file__).parent
# Of one stream, and of all; a Lua script takes some thousand arguments.
_PAGE = 1_000
_ROWS_MAX = 10_000
_HEADS_AT_ONCE = 1_000
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encode_lines = msgspec.json.Encoder().encode_lines
_unreadable = MinuteLine(logging.ERROR, "audit entries unreadable")
_broken = MinuteLine(logging.ERROR, "audit log differs from the head that Redis keeps")


def read_sql(name: str) -> str:
    """Reads a statement on the audit log."""
    return (_FOLDER / "sql" / f"{name}.sql").read_text(encoding="utf-8")


class _StoredHead(msgspec.Struct, frozen=True):
    account: Account
    seq: int
    hash: str
    pos: int = 0


class _Uid(msgspec.Struct, frozen=True):
    uid: str


class _Position(msgspec.Struct, frozen=True):
    pos: int


class _ReadEntry(msgspec.Struct, frozen=True):
    stream: str
    id: bytes
    entry: AuditEntry

    @property
    def order(self) -> tuple[int, str]:
        return position(self.id), self.stream


class _Chains(msgspec.Struct):
    """The newest row of each account, and the position of the newest of all."""

    heads: dict[Account, ChainHead]
    pos: int

    def extend(self, entries: Sequence[_ReadEntry]) -> list[AuditRow]:
        """Returns the rows of entries, which are the newest from now on."""
        rows: list[AuditRow] = []
        for read in entries:
            account = read.entry.account
            self.pos += 1
            head = self.heads.get(account, EMPTY_CHAIN)
            row = chain_row(read.entry, time_ms(position(read.id)), head, self.pos)
            self.heads[account] = ChainHead(row.seq, row.hash)
            rows.append(row)
        return rows


class AuditLogStore:
    """Stores the entries of all streams; one aggregator at a time does, by its lease."""

    def __init__(
        self, redis: Redis, clickhouse: ClickHouse, shards: int, leases: Leases | None = None
    ) -> None:
        self._redis = redis
        self._clickhouse = clickhouse
        self._leases = leases
        self._streams = [
            redis_keys.AUDIT_REGISTRY,
            redis_keys.AUDIT_REFUSED,
            *map(redis_keys.audit, range(shards)),
        ]
        self._page = max(1, min(_PAGE, _ROWS_MAX // len(self._streams)))
        self._keep_heads = LuaScript(redis, read_script(_FOLDER / "keep_heads.lua"))
        # None: to be read.
        self._chains: _Chains | None = None

    def forget(self) -> None:
        """Makes the next step read what is stored: after a failure nobody knows."""
        self._chains = None

    async def release(self) -> None:
        """Lets another aggregator continue at once."""
        if self._leases:
            await self._leases.release()

    async def step(self) -> bool:
        """Stores the next entries; returns whether there may be more."""
        if self._leases:
            lease = await self._leases.acquire(AuditLogLease())
            if lease == "foreign":
                self.forget()
                return False
            if lease == "taken":
                self.forget()
        if self._chains is None:
            self._chains = await self._load()
        read = [entry for stream in self._streams for entry in await self._read(stream)]
        if not read:
            return False
        new = await self._without_stored(read)
        if new:
            await self._insert(self._chains, new)
        await self._keep(self._chains, {one.entry.account for one in new})
        await self._drop(read)
        return len(read) >= self._page

    async def _read(self, stream: str) -> list[_ReadEntry]:
        entries = await read_stream(self._redis, stream, "-", count=self._page)
        return [_ReadEntry(stream, id, _decode(stream, id, fields)) for id, fields in entries]

    async def _without_stored(self, read: Sequence[_ReadEntry]) -> list[_ReadEntry]:
        """Returns those that are not stored, in the order of time.

        Entries are stored already if a step ended before it dropped them, or if Redis was restored
        to an older state.
        """
        uids = [(one.entry.uid,) for one in read]
        stored = await self._clickhouse.look_up(read_sql("stored"), _Uid, ("uids",), uids)
        known = {row.uid for row in stored}
        new = {one.entry.uid: one for one in read if one.entry.uid not in known}
        return sorted(new.values(), key=lambda one: one.order)

    async def _insert(self, chains: _Chains, new: Sequence[_ReadEntry]) -> None:
        start = InsertStart(_TABLE, 0, chains.pos)
        rows = chains.extend(new)
        lines = _encode_lines(rows)
        fault("audit_log_before_insert")
        if self._clickhouse.remote:
            stored = await insert_once(
                self._clickhouse,
                start,
                lambda token: self._clickhouse.insert(_TABLE, COLUMNS, lines, token=token),
                self._read_position,
            )
            if stored != chains.pos or not await self._is_own(rows[-1]):
                raise LeaseLost("another aggregator continued the audit log")
        else:
            await self._clickhouse.insert(_TABLE, COLUMNS, lines)
        fault("audit_log_after_insert")
        metrics.AUDIT_ENTRIES_STORED.inc(len(rows))

    async def _read_position(self) -> int:
        sql = f"SELECT max(pos) AS pos FROM {_TABLE}"
        return (await self._clickhouse.read(sql, _Position))[0].pos

    async def _is_own(self, last: AuditRow) -> bool:
        """Returns whether the row, and so its insert, is stored rather than another's."""
        where = "account = {account:UInt32} AND seq = {seq:UInt64}"
        parameters = {"account": last.account, "seq": last.seq}
        sql = f"SELECT uid FROM {_TABLE} WHERE {where}"
        return await self._clickhouse.read(sql, _Uid, parameters) == [_Uid(last.uid)]

    async def _keep(self, chains: _Chains, accounts: set[Account]) -> None:
        """Keeps the heads of accounts in Redis, so that a cut end is found."""
        ordered = sorted(accounts)
        for start in range(0, len(ordered), _HEADS_AT_ONCE):
            part = ordered[start : start + _HEADS_AT_ONCE]
            arguments = head_arguments((account, chains.heads[account]) for account in part)
            await self._keep_heads([([redis_keys.AUDIT_HEADS], arguments)])
        fault("audit_log_after_heads")

    async def _drop(self, read: Sequence[_ReadEntry]) -> None:
        for stream in self._streams:
            ids = [one.id for one in read if one.stream == stream]
            if ids:
                await call(self._redis, "XDEL", stream, *ids)

    async def _load(self) -> _Chains:
        """Reads where the chains end: the stored ends, unless Redis knows of others.

        A chain whose end was cut or replaced goes on behind the end that Redis keeps, so that
        `verify` finds it for ever.
        """
        kept = await read_heads(self._redis)
        rows = await self._clickhouse.read(read_sql("heads"), _StoredHead)
        heads = {row.account: ChainHead(row.seq, row.hash) for row in rows}
        keys = [(account, head.seq) for account, head in kept.items()]
        arrays = "accounts", "seqs"
        found = await self._clickhouse.look_up(read_sql("kept"), _StoredHead, arrays, keys)
        matching = {
            row.account for row in found if kept[row.account] == ChainHead(row.seq, row.hash)
        }
        for account, head in kept.items():
            if account not in matching:
                _broken.count(f"account {account}")
                metrics.AUDIT_LOG_BROKEN.inc()
                newest = heads.get(account, EMPTY_CHAIN).seq
                heads[account] = ChainHead(max(head.seq, newest), head.hash)
        # Redis lacks those that were stored just before the aggregator ended.
        behind = {
            account
            for account, head in heads.items()
            if kept.get(account) != head and account in matching | heads.keys() - kept.keys()
        }
        chains = _Chains(heads, max((row.pos for row in rows), default=0))
        await self._keep(chains, behind)
        return chains


def _decode(stream: str, id: bytes, fields: dict[bytes, bytes]) -> AuditEntry:
    try:
        return msgspec.json.decode(fields.get(b"e", b""), type=AuditEntry)
    except _ERRORS as error:
        # Something was written all the same, and the log must say so.
        _unreadable.count(stream, error=error)
        place = f"{stream}/{id.decode()}"
        return AuditEntry(
            uid=place, account=ACCOUNT_DEFAULT, actor="", operation="unreadableEntry", object=place
        )
