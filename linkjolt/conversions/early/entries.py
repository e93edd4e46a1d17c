"""Encodes early adjustments as Redis keeps them, while they wait and once they have failed."""

from enum import StrEnum
from typing import TypeVar

import msgspec

from linkjolt.conversions.proposed import ProposedAdjustment
from linkjolt.conversions.reservations import NamedOrder
from linkjolt.datasets import account_of
from linkjolt.reasons import Reason, Rejected

WAIT_MS = 72 * 3_600_000
T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class ParkOutcome(StrEnum):
    """The outcome of `park.lua`."""

    parked = "parked"
    waiting = "waiting"
    conflict = "conflict"
    order_full = "order_full"
    account_full = "account_full"


class EarlyAdjustment(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment that waits for its order; times in UTC milliseconds."""

    order: NamedOrder
    proposed: ProposedAdjustment
    parked_ms: int
    expires_ms: int

    @property
    def scope(self) -> str:
        """Names those among whom adjustment ids are unique and bounds hold."""
        return f"{account_of(self.order.dataset)}/{self.proposed.author.campaign}"


class FailedAdjustment(msgspec.Struct, frozen=True, kw_only=True):
    """An early adjustment that its conversion did not allow, or for which none came."""

    early: EarlyAdjustment
    expires_ms: int
    code: Reason
    field: str
    message: str


class WaitingEntry(msgspec.Struct, frozen=True):
    """An entry of an order's list; `early` is None where a later release wrote it."""

    raw: bytes
    expires_ms: int
    early: EarlyAdjustment | None


def read_waiting(raw: bytes) -> WaitingEntry:
    """Reads an entry of `park.lua`."""
    expires, *_, content = raw.split(b"\n", 4)
    return WaitingEntry(raw, int(expires), _decode_or_none(content, EarlyAdjustment))


def read_failed(raw: bytes) -> FailedAdjustment | None:
    """Reads a failed adjustment; None for one of a later release."""
    return _decode_or_none(raw, FailedAdjustment)


def encode_early(early: EarlyAdjustment) -> bytes:
    """Encodes an early adjustment for `park.lua`."""
    return _encode(early)


def encode_failed(early: EarlyAdjustment, refused: Rejected, now_ms: int) -> bytes:
    """Encodes the failure of an early adjustment for `read_failed`."""
    failed = FailedAdjustment(
        early=early,
        expires_ms=now_ms + WAIT_MS,
        code=refused.reason,
        field=refused.field,
        message=refused.message,
    )
    return _encode(failed)


def _decode_or_none(raw: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError:
        return None
