"""Adjusts conversions as API keys request it: by id, by order, or before they are stored."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec
from starlette.requests import Request

from linkjolt.audit_log.entries import AuditSource
from linkjolt.auth.audit_sources import source_of_request
from linkjolt.conversions.adjust import AdjustmentResult, BuildRequest
from linkjolt.conversions.early.adjustments import EarlyAdjustments
from linkjolt.conversions.early.entries import EarlyAdjustment
from linkjolt.conversions.proposed import ProposedAdjustment, author_of, check_authority
from linkjolt.conversions.reservations import NamedOrder, StoredReservation
from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey

_ADJUSTED = 201
_WAITS = 202
# Returns whether a conversion still waits on this machine's disk for Redis.
IsQueued = Callable[[str], Awaitable[bool]]


class Requester(NamedTuple):
    """The key of a request, and its source for the audit log."""

    key: ApiKey
    source: AuditSource


def requester(request: Request, key: ApiKey, operation: str, directory: Directory) -> Requester:
    """Returns the requester of adjustments."""
    source = source_of_request(request.scope, key, operation, _ADJUSTED, directory.addresses)
    return Requester(key, source)


class RequestedAdjustments:
    """Adjusts the conversions that keys may adjust, each after what came before it."""

    def __init__(self, early: EarlyAdjustments, is_queued: IsQueued | None = None) -> None:
        self._adjuster = early.adjuster
        self._early = early
        self._is_queued = is_queued

    async def find(self, key: ApiKey, conversion_id: str) -> StoredReservation:
        """Finds a conversion that the key may adjust; Rejected for others."""
        try:
            stored = await self._adjuster.find(key.dataset, conversion_id)
        except Rejected as refused:
            if refused.reason is Reason.not_found and await self.is_queued(conversion_id):
                message = "the conversion is still queued: try again when it is no more"
                raise Rejected(Reason.unavailable, message) from None
            raise
        check_authority(stored.reservation.state, author_of(key))
        return stored

    async def is_queued(self, conversion_id: str) -> bool:
        """Returns whether the conversion still waits on this machine's disk for Redis."""
        return self._is_queued is not None and await self._is_queued(conversion_id)

    async def adjust(
        self,
        stored: StoredReservation,
        build_request: BuildRequest,
        now_ms: int,
        source: AuditSource,
    ) -> AdjustmentResult:
        """Adjusts a conversion; as `ConversionAdjuster.adjust`."""
        state = stored.reservation.state
        if state.order_id:
            click_id = state.click_id if state.order_scope == "click" else ""
            order = NamedOrder(state.account, state.event, state.order_id, click_id)
            await self._early.apply_order(order.digest, now_ms)
        return await self._adjuster.adjust_stored(stored, build_request, now_ms, source)

    async def adjust_order(
        self,
        order: NamedOrder,
        proposed: ProposedAdjustment,
        now_ms: int,
        source: AuditSource | None,
    ) -> AdjustmentResult | EarlyAdjustment:
        """Adjusts an order's conversion, or parks the adjustment until there is one.

        Without a source the adjustment belongs to an intake.
        """
        stored = await self._early.find(order, proposed)
        if stored is None:
            waits = source and msgspec.structs.replace(source, status=_WAITS)
            return await self._early.park(order, proposed, now_ms, waits)
        await self._early.apply_order(order.digest, now_ms)
        return await self._adjuster.adjust_stored(stored, proposed.request_for, now_ms, source)
