"""Adjusts conversions: replaces a conversion's state and appends its event in one call."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import datasets, redis_keys
from linkjolt.audit_log.entries import AuditSource, FieldChange, encode_entry
from linkjolt.conversions.adjustment_kinds import AdjustmentRequest
from linkjolt.conversions.ledger import apply_adjustment, find_repeat
from linkjolt.conversions.proposed import Author, ProposedAdjustment
from linkjolt.conversions.reservations import (
    CLAIMS,
    NamedOrder,
    RefusedPost,
    StoredReservation,
    encode_reservation,
    find_reservation,
)
from linkjolt.datasets import Dataset
from linkjolt.events import Adjustment, AdjustmentKind, ConversionState, HistoryEntry
from linkjolt.money import Commission, format_major
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.commission_rules import rule_of_version
from linkjolt.registry.entries import Campaign, EntryKind, public_id
from linkjolt.registry.reads import read_entry
from linkjolt.storage.lua import LuaScript, read_appending_script

_FOLDER = Path(__file__).parent
_SCRIPT = read_appending_script(_FOLDER / "adjust.lua")
_VERIFY_SCRIPT = read_appending_script(_FOLDER / "verify.lua")
# Of concurrent adjustments of one conversion, one succeeds at each attempt.
_ATTEMPTS_MAX = 200
_encode = msgspec.json.Encoder().encode
# By the names of the API. A reason or a note may say anything, so it is not among them.
_SHOWN: Mapping[str, Callable[[ConversionState], object]] = {
    "status": lambda state: state.status,
    "order_value": lambda state: format_major(state.order_value_minor, state.currency),
    "net_value": lambda state: format_major(state.refundable_minor, state.currency),
    "commission_amount": lambda state: format_major(state.commission_minor, state.currency),
    "payout": lambda state: state.payout,
    "attribution": lambda state: state.attribution,
    "campaign_id": lambda state: _id("campaign", state.campaign),
    "affiliate_id": lambda state: _id("affiliate", state.affiliate),
    "verified": lambda state: state.verified,
}


class AdjustmentResult(msgspec.Struct, frozen=True):
    """A conversion and the entry of its adjustment; `repeated`: it had been made before."""

    state: ConversionState
    entry: HistoryEntry
    repeated: bool


# Makes the request from the state it will be applied to. May raise Rejected.
BuildRequest = Callable[[ConversionState], AdjustmentRequest]


class ConversionAdjuster:
    """Adjusts the conversions of one Redis.

    The audit log gets an entry of each adjustment that has a `source`; others belong to an intake.
    """

    def __init__(self, redis: Redis, shards: int, state_days: int) -> None:
        self._redis = redis
        self._shards = shards
        self._state_seconds = state_days * 86_400
        self._script = LuaScript(redis, _SCRIPT)
        self._verify_script = LuaScript(redis, _VERIFY_SCRIPT)

    async def adjust(
        self, dataset: Dataset, conversion_id: str, build_request: BuildRequest, now_ms: int
    ) -> AdjustmentResult:
        """Adjusts a conversion of this dataset; on disk when it returns.

        Rejected if there is none or it cannot be adjusted. RedisError if the outcome is unknown:
        the same `adjustment_id` may be sent again.
        """
        stored = await self.find(dataset, conversion_id)
        return await self.adjust_stored(stored, build_request, now_ms)

    async def find(self, dataset: Dataset, conversion_id: str) -> StoredReservation:
        """Finds a conversion of this dataset; Rejected if there is none or it was refused."""
        stored = await find_reservation(self._redis, self._shards, conversion_id)
        if not isinstance(stored, StoredReservation):
            raise _not_found(stored)
        if stored.reservation.state.account != dataset:
            raise _not_found(None)
        return stored

    async def adjust_stored(
        self,
        stored: StoredReservation,
        build_request: BuildRequest,
        now_ms: int,
        source: AuditSource | None = None,
    ) -> AdjustmentResult:
        """As `adjust`, for the conversion of a reservation that was just read."""
        state = stored.reservation.state
        for _ in range(_ATTEMPTS_MAX):
            try:
                result = await self._attempt(stored, build_request, now_ms, source)
            except Rejected:
                # Perhaps of a state that was replaced since it was read.
                current = await self.find(state.account, state.conversion_id)
                if current.reservation.raw == stored.reservation.raw:
                    raise
            else:
                if result:
                    return result
                # By its id: another conversion may have its order now.
                current = await self.find(state.account, state.conversion_id)
            stored = current
        message = "too many requests adjust this conversion at once: try again"
        raise Rejected(Reason.unavailable, message)

    async def _attempt(
        self,
        stored: StoredReservation,
        build_request: BuildRequest,
        now_ms: int,
        source: AuditSource | None,
    ) -> AdjustmentResult | None:
        """Returns the result; None, and changes nothing, if the state is no longer as it was."""
        state = stored.reservation.state
        request = build_request(state)
        if entry := find_repeat(state, request):
            return AdjustmentResult(state, entry, repeated=True)
        rule = await self._commission_rule(state, request)
        changed, fact = apply_adjustment(state, request, rule, now_ms)
        replace = self._verify if fact.verifies else self._replace_state
        audited = encode_adjustment(source, state, changed, fact) if source else b""
        if await replace(stored, changed, fact, audited):
            return None
        return AdjustmentResult(changed, changed.history[-1], repeated=False)

    async def _commission_rule(
        self, state: ConversionState, request: AdjustmentRequest
    ) -> Commission | None:
        """Reads the rule of the version that pays the conversion from now on."""
        payee = request.payee
        number = payee.campaign if payee else state.campaign
        version = payee.rule if payee else _paying_version(state)
        campaign = await read_entry(self._redis, Campaign, number) if version else None
        return rule_of_version(campaign, version) if campaign else None

    async def _replace_state(
        self, stored: StoredReservation, state: ConversionState, fact: Adjustment, audited: bytes
    ) -> bytes:
        """Replaces the state and appends the event; returns '' if that is done."""
        stream, previous = redis_keys.conversions(stored.shard), stored.reservation
        changed = encode_reservation(previous.conversion_id, previous.fingerprint, state)
        pointer = redis_keys.conversion(stored.shard, previous.conversion_id)
        audit = redis_keys.audit(stored.shard)
        keys = [stored.key, stream.key, stream.ledger_key, pointer, audit]
        arguments = [previous.raw, changed, self._state_seconds, _encode(fact), audited]
        [reply] = await self._script([(keys, arguments)])
        return reply

    async def _verify(
        self, stored: StoredReservation, state: ConversionState, fact: Adjustment, audited: bytes
    ) -> bytes:
        """As `_replace_state`, and reserves the order, which must have no verified conversion."""
        stream, previous = redis_keys.conversions(stored.shard), stored.reservation
        # From now on it has its order like any other.
        state = msgspec.structs.replace(state, order_scope="")
        changed = encode_reservation(previous.conversion_id, previous.fingerprint, state)
        digest = redis_keys.order_digest(state.account, state.event, state.order_id)
        keys = [
            stored.key,
            redis_keys.order(stored.shard, digest),
            stream.key,
            stream.ledger_key,
            redis_keys.conversion(stored.shard, previous.conversion_id),
            redis_keys.audit(stored.shard),
        ]
        arguments = [
            *(previous.raw, changed, self._state_seconds, _encode(fact), digest),
            *(state.campaign, audited),
        ]
        [reply] = await self._verify_script([(keys, arguments)])
        if reply.startswith(CLAIMS):
            message = "is not allowed: the order has another conversion, which is verified"
            raise Rejected(Reason.not_adjustable, message, field="kind")
        return reply


def _paying_version(state: ConversionState) -> int:
    """Returns the version of the rule that pays; states without versions were paid by 1."""
    unversioned = state.affiliate and not state.rule and not state.commission_reason
    return 1 if unversioned else state.rule


def _not_found(refused: RefusedPost | None) -> Rejected:
    if refused:
        message = f"the conversion was refused: its order is that of {refused.conflicts_with}"
        return Rejected(Reason.not_adjustable, message)
    return Rejected(Reason.not_found, "no such conversion")


def source_of_early(author: Author) -> AuditSource:
    """Returns the source of an adjustment that waited for its order."""
    return AuditSource(actor=author.name, operation="applyEarlyAdjustment")


def encode_adjustment(
    source: AuditSource, before: ConversionState, after: ConversionState, fact: Adjustment
) -> bytes:
    """Encodes the entry of an adjustment for the script that makes it."""
    account = datasets.account_of(before.account)
    return encode_entry(source, account, before.conversion_id, _changes(before, after, fact))


def encode_parked(source: AuditSource, order: NamedOrder, proposed: ProposedAdjustment) -> bytes:
    """Encodes the entry of an adjustment that waits for its order from now on."""
    account = datasets.account_of(order.dataset)
    return encode_entry(source, account, "", _named(proposed.adjustment_id, proposed.kind))


def _changes(
    before: ConversionState, after: ConversionState, fact: Adjustment
) -> Iterator[FieldChange]:
    yield from _named(fact.adjustment_id, fact.kind)
    for name, value_of in _SHOWN.items():
        former, value = value_of(before), value_of(after)
        if former != value:
            yield name, former, value


def _named(adjustment_id: str, kind: AdjustmentKind) -> Iterator[FieldChange]:
    yield "adjustment_id", None, adjustment_id
    yield "adjustment", None, kind


def _id(kind: EntryKind, number: int) -> str | None:
    return public_id(kind, number) if number else None
