"""Verification finds each row of the audit log that somebody changed, dropped or moved."""

from collections.abc import Callable

import msgspec
import pytest

from aggregator.audit_log.chain import AuditRow
from linkjolt.datasets import Account
from tests.aggregator.audit_log.conftest import AuditLog

Rows = list[AuditRow]


def _changed(rows: Rows) -> Rows:
    return [msgspec.structs.replace(r, actor="key_1") if r.seq == 3 else r for r in rows]


def _changed_and_hashed(rows: Rows) -> Rows:
    one = msgspec.structs.replace(rows[2], actor="key_1")
    return [*rows[:2], msgspec.structs.replace(one, hash=one.computed_hash()), *rows[3:]]


def _swapped(rows: Rows) -> Rows:
    third, fourth = rows[2], rows[3]
    moved = [
        msgspec.structs.replace(fourth, seq=3, pos=third.pos),
        msgspec.structs.replace(third, seq=4, pos=fourth.pos),
    ]
    return [*rows[:2], *moved, *rows[4:]]


def _rewritten_to_the_end(rows: Rows) -> Rows:
    written: Rows = []
    for row in rows:
        actor = "key_1" if row.seq == 3 else row.actor
        previous = written[-1].hash if written else row.previous
        one = msgspec.structs.replace(row, actor=actor, previous=previous)
        written.append(msgspec.structs.replace(one, hash=one.computed_hash()))
    return written


def _inserted(rows: Rows) -> Rows:
    one = msgspec.structs.replace(rows[2], uid="another", previous=rows[1].hash)
    return [*rows, msgspec.structs.replace(one, hash=one.computed_hash())]


def _untouched(rows: Rows) -> Rows:
    return rows


def _without_third(rows: Rows) -> Rows:
    return rows[:2] + rows[3:]


def _without_beginning(rows: Rows) -> Rows:
    return rows[2:]


def _without_end(rows: Rows) -> Rows:
    return rows[:4]


def _emptied(_: Rows) -> Rows:
    return []


@pytest.mark.parametrize(
    ("tamper", "faults"),
    [
        (_untouched, []),
        (_changed, [("changed", 3, 3)]),
        (_changed_and_hashed, [("out_of_place", 4, 4)]),
        (_swapped, [("changed", 3, 3), ("changed", 4, 4)]),
        (_rewritten_to_the_end, [("not_the_kept_row", 6, 6)]),
        (_inserted, [("inserted", 3, 3)]),
        (_without_third, [("missing", 3, 3)]),
        (_without_beginning, [("missing", 1, 2)]),
        (_without_end, [("missing", 5, 6)]),
        (_emptied, [("missing", 1, 6)]),
    ],
)
async def test_tampering_is_found_and_named(
    audit_log: AuditLog, tamper: Callable[[Rows], Rows], faults: list[tuple[str, int, int]]
) -> None:
    await audit_log.write(6)
    await audit_log.replace_rows(tamper(await audit_log.rows()))
    found = await audit_log.faults()
    assert found[: len(faults)] == faults
    assert bool(found) == bool(faults)


@pytest.mark.parametrize(
    ("tamper", "faults"),
    [
        (_without_end, [("missing", 5, 6)]),
        (_rewritten_to_the_end, [("out_of_place", 7, 7)]),
        (_emptied, [("missing", 1, 6)]),
    ],
)
async def test_what_was_tampered_with_is_found_after_further_writes(
    audit_log: AuditLog, tamper: Callable[[Rows], Rows], faults: list[tuple[str, int, int]]
) -> None:
    await audit_log.write(6)
    await audit_log.replace_rows(tamper(await audit_log.rows()))
    for _ in range(2):
        audit_log.restart()
        await audit_log.write(2)
    assert await audit_log.faults() == faults


async def test_a_fault_is_of_the_account_that_has_it(audit_log: AuditLog) -> None:
    await audit_log.write(3, Account(1))
    await audit_log.write(3, Account(2))
    rows = await audit_log.rows()
    await audit_log.replace_rows([row for row in rows if (row.account, row.seq) != (2, 2)])
    assert await audit_log.faults() == [("missing", 2, 2)]


async def test_every_column_is_part_of_the_hash(audit_log: AuditLog) -> None:
    await audit_log.write(1)
    [row] = await audit_log.rows()
    for name in AuditRow.__struct_fields__[:-1]:
        value = getattr(row, name)
        other = msgspec.structs.replace(
            row, **{name: value + (1 if isinstance(value, int) else "x")}
        )
        assert other.computed_hash() != row.hash, name
