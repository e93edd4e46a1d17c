"""Adjustments carried out: a conversion's state is replaced and its event appended in one call."""

from collections.abc import Callable
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.conversions.adjustment_kinds import Wanted
from linkjolt.conversions.ledger import adjust, repeated
from linkjolt.conversions.reservations import (
    Held,
    Refused,
    find_held,
    read_reservation,
    write_reservation,
)
from linkjolt.events import Adjustment, ConversionState, HistoryEntry
from linkjolt.money import Commission
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.commission_rules import rule_of_version
from linkjolt.registry.entries import Campaign
from linkjolt.registry.reads import read_entry
from linkjolt.storage.lua import appending
from linkjolt.storage.redis import ScriptCalls

_SCRIPT = appending(Path(__file__).parent / "adjust.lua")
# Of those who adjust one conversion at once, each try lets one through.
_TRIES = 200
_encode = msgspec.json.Encoder().encode


class Done(msgspec.Struct, frozen=True):
    """The conversion as it stands, its adjustment's entry; `repeated`: it was made before."""

    state: ConversionState
    entry: HistoryEntry
    repeated: bool


# An adjustment, told by the state that it is to meet. May raise Rejected.
Ask = Callable[[ConversionState], Wanted]


class Adjusting:
    """Adjusts the conversions of one Redis."""

    def __init__(self, redis: Redis, shards: int, state_days: int) -> None:
        self._redis = redis
        self._shards = shards
        self._keep_seconds = state_days * 86_400
        self._call = ScriptCalls(redis, _SCRIPT)

    async def adjust(self, books: int, conversion_id: str, ask: Ask, now_ms: int) -> Done:
        """Adjusts a conversion of these books; on disk when it returns.

        Rejected where there is none or it cannot be. RedisError where nothing is known of it: the
        same `adjustment_id` may be sent again.
        """
        held = await find_held(self._redis, self._shards, conversion_id)
        if not isinstance(held, Held):
            raise _missing(held)
        if held.reservation.state.account != books:
            raise _missing(None)
        for _ in range(_TRIES):
            state = held.reservation.state
            wanted = ask(state)
            if entry := repeated(state, wanted):
                return Done(state, entry, repeated=True)
            changed, fact = adjust(state, wanted, await self._rule(state, wanted), now_ms)
            other = await self._replace(held, changed, fact)
            if other == b"gone":
                raise _missing(None)
            if not other:
                return Done(changed, changed.history[-1], repeated=False)
            held = Held(held.shard, held.key, other, read_reservation(other))
        message = "too many adjust this conversion at once: try again"
        raise Rejected(Reason.unavailable, message)

    async def _rule(self, state: ConversionState, wanted: Wanted) -> Commission | None:
        """That of the version by which the conversion is paid from now on."""
        earner = wanted.earner
        number = earner.campaign if earner else state.campaign
        version = earner.rule if earner else _version(state)
        campaign = await read_entry(self._redis, Campaign, number) if version else None
        return rule_of_version(campaign, version) if campaign else None

    async def _replace(self, held: Held, state: ConversionState, fact: Adjustment) -> bytes:
        stream, was = redis_keys.conversions(held.shard), held.reservation
        changed = write_reservation(was.conversion_id, was.fingerprint, state)
        pointer = redis_keys.conversion(held.shard, was.conversion_id)
        keys = [held.key, stream.key, stream.ledger, pointer]
        arguments = [held.raw, changed, self._keep_seconds, _encode(fact)]
        [reply] = await self._call([(keys, arguments)])
        return reply


def _version(state: ConversionState) -> int:
    """That of the rule which pays; a state from before rules had versions was paid by the first."""
    unversioned = state.affiliate and not state.rule and not state.commission_reason
    return 1 if unversioned else state.rule


def _missing(found: Refused | None) -> Rejected:
    if found:
        message = f"it was refused: its order is that of {found.conflicts_with}"
        return Rejected(Reason.not_adjustable, message)
    return Rejected(Reason.not_found, "no such conversion")
