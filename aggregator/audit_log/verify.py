"""Verifies the audit log: that every row of an account is there, unchanged and in its place."""

from collections.abc import Iterable
from typing import Literal

import msgspec
from redis.asyncio import Redis

from aggregator.audit_log.chain import COLUMNS, EMPTY_CHAIN, AuditRow, ChainHead, read_heads
from aggregator.audit_log.store import read_sql
from linkjolt.datasets import Account
from linkjolt.storage.clickhouse import ClickHouse

# Of one account: whoever rewrites a log changes all of its rows.
_FAULTS_MAX = 100
Fault = Literal["changed", "missing", "inserted", "out_of_place", "not_the_kept_row"]


class AuditLogFault(msgspec.Struct, frozen=True):
    """A row that is not as it was written, or the first and last of some that are missing."""

    account: Account
    fault: Fault
    seq: int
    last_seq: int

    def __str__(self) -> str:
        rows = (
            f"row {self.seq}" if self.seq == self.last_seq else f"rows {self.seq}-{self.last_seq}"
        )
        return f"account {self.account}: {rows} {_SENTENCES[self.fault]}"


_SENTENCES: dict[Fault, str] = {
    "changed": "changed after the hash was made",
    "missing": "missing",
    "inserted": "there already, so one was inserted",
    "out_of_place": "does not follow the row before",
    "not_the_kept_row": "is not the row of which Redis keeps the hash",
}


class VerifiedChain(msgspec.Struct, frozen=True):
    """The chain of one account: its rows, its newest hash, and the one that Redis keeps."""

    account: Account
    rows: int
    seq: int
    hash: str
    kept_seq: int
    faults: tuple[AuditLogFault, ...]


class AuditLogVerification(msgspec.Struct, frozen=True):
    """The result of a verification; `clean` if no chain has a fault."""

    clean: bool
    accounts: tuple[VerifiedChain, ...]


class _Verifier:
    """Follows one account's chain row by row."""

    def __init__(self, account: Account, kept: ChainHead) -> None:
        self._account = account
        self._kept = kept
        self._kept_found = kept.seq == 0
        self._rows = 0
        self._last = EMPTY_CHAIN
        self._faults: list[AuditLogFault] = []

    def follow(self, row: AuditRow) -> None:
        """Compares a row with the one before it."""
        self._rows += 1
        expected = self._last.seq + 1
        is_changed = row.computed_hash() != row.hash
        if is_changed:
            self._add("changed", row.seq)
        if row.seq > expected:
            self._add("missing", expected, row.seq - 1)
        elif row.seq < expected:
            self._add("inserted", row.seq)
        elif row.previous != self._last.hash and not is_changed:
            self._add("out_of_place", row.seq)
        if row.seq == self._kept.seq and not self._kept_found:
            self._kept_found = row.hash == self._kept.hash
        if row.seq >= expected:
            self._last = ChainHead(row.seq, row.hash)

    def finish(self) -> VerifiedChain:
        """Compares the end with the newest row that Redis knows of."""
        if self._kept.seq > self._last.seq:
            self._add("missing", self._last.seq + 1, self._kept.seq)
        elif not self._kept_found:
            self._add("not_the_kept_row", self._kept.seq)
        last = self._last
        faults = tuple(self._faults)
        return VerifiedChain(self._account, self._rows, last.seq, last.hash, self._kept.seq, faults)

    def _add(self, fault: Fault, seq: int, last_seq: int = 0) -> None:
        if len(self._faults) < _FAULTS_MAX:
            self._faults.append(AuditLogFault(self._account, fault, seq, last_seq or seq))


async def verify(redis: Redis, clickhouse: ClickHouse) -> AuditLogVerification:
    """Verifies the chains of all accounts, also against the heads that Redis keeps."""
    # Before the rows: what is stored meanwhile lies behind them.
    kept = await read_heads(redis)
    verifiers = {account: _Verifier(account, head) for account, head in kept.items()}
    sql = read_sql("rows").replace("{columns}", ", ".join(COLUMNS))
    async with clickhouse.export(sql, AuditRow) as batches:
        for batch in batches:
            _follow_all(verifiers, batch)
    chains = [verifiers[account].finish() for account in sorted(verifiers)]
    return AuditLogVerification(not any(chain.faults for chain in chains), tuple(chains))


def _follow_all(verifiers: dict[Account, _Verifier], rows: Iterable[AuditRow]) -> None:
    for row in rows:
        verifier = verifiers.setdefault(row.account, _Verifier(row.account, EMPTY_CHAIN))
        verifier.follow(row)


def summarize_verification(result: AuditLogVerification) -> str:
    """Formats a verification for people: a line for each account, then the faults."""
    lines = [
        f"account {chain.account}: {chain.rows} rows, the newest {chain.seq} {chain.hash}"
        for chain in result.accounts
    ]
    lines += [str(fault) for chain in result.accounts for fault in chain.faults]
    lines.append("verified" if result.clean else "NOT VERIFIED")
    return "\n".join(lines)
