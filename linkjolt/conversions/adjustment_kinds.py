"""Applies each kind of adjustment to a conversion's state, or refuses it; pure."""

from collections.abc import Callable
from hashlib import blake2s

import msgspec

from linkjolt.events import (
    AdjustmentKind,
    AttributionMethod,
    ConversionState,
    ConversionStatus,
    Hand,
)
from linkjolt.money import format_major
from linkjolt.reasons import Reason, Rejected

# Why a conversion earns nothing that nobody vouches for yet.
UNVERIFIED = "unverified"


class Payee(msgspec.Struct, frozen=True, kw_only=True):
    """The affiliate to whom a conversion is given by hand, and the version that pays.

    `exchange_rate` converts the version's amounts into the conversion's currency. `reason` says why
    no version pays.
    """

    campaign: int
    affiliate: int
    rule: int
    link: int = 0
    exchange_rate: str = ""
    reason: str = ""


class AdjustmentRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A requested adjustment; amounts in minor units of the conversion's currency.

    `amount_minor` is of a refund (None: all that remains) or its reinstatement (None: all that was
    refunded), `order_value_minor` of a restatement, before refunds; `stated_ms` is the timestamp
    that its sender gave. `author` is the public id of an API key, or a name for another author.
    """

    adjustment_id: str
    kind: AdjustmentKind
    author: str
    amount_minor: int | None = None
    order_value_minor: int | None = None
    reason: str = ""
    payee: Payee | None = None
    stated_ms: int = 0
    hand: Hand = "key"

    @property
    def digest(self) -> str:
        """Returns a hash that is equal for equal requests of any author."""
        payee = self.payee and (self.payee.campaign, self.payee.affiliate, self.payee.link)
        asked = (self.kind, self.amount_minor, self.order_value_minor, self.reason, payee)
        return blake2s(msgspec.json.encode(asked), digest_size=8).hexdigest()


def _replace(state: ConversionState, **changes: object) -> ConversionState:
    return msgspec.structs.replace(state, **changes)


def _cannot_be(state: ConversionState, participle: str) -> Rejected:
    message = f"is not allowed: a conversion that is {state.status} cannot be {participle}"
    return Rejected(Reason.not_adjustable, message, field="kind")


def _approve(state: ConversionState, request: AdjustmentRequest) -> ConversionState:
    if any(entry.kind == "superseded" for entry in state.history):
        message = "is not allowed: another conversion has the order"
        raise Rejected(Reason.not_adjustable, message, field="kind")
    approved = _change_status(state, "approved")
    if state.verified:
        return approved
    # The version that pays was kept for this moment.
    reason = "" if state.commission_reason == UNVERIFIED else state.commission_reason
    return _replace(approved, verified=True, commission_reason=reason)


def _reject(state: ConversionState, request: AdjustmentRequest) -> ConversionState:
    if not request.reason:
        message = "is required: say why the conversion is rejected"
        raise Rejected(Reason.missing_field, message, field="reason")
    return _change_status(state, "rejected")


def _change_status(state: ConversionState, status: ConversionStatus) -> ConversionState:
    if state.status == status:
        message = f"is not allowed: the conversion is {status} already"
        raise Rejected(Reason.not_adjustable, message, field="kind")
    return _replace(state, status=status)


def _supersede(state: ConversionState, request: AdjustmentRequest) -> ConversionState:
    if state.status == "rejected":
        raise _cannot_be(state, "superseded")
    return _replace(state, status="rejected")


def _refund(state: ConversionState, request: AdjustmentRequest) -> ConversionState:
    if state.status == "rejected":
        raise _cannot_be(state, "refunded")
    refundable = state.refundable_minor
    amount = refundable if request.amount_minor is None else request.amount_minor
    if not refundable:
        raise Rejected(
            Reason.not_adjustable, "is not allowed: nothing is left to refund", field="kind"
        )
    if amount > refundable:
        message = f"is more than is left to refund: {format_major(refundable, state.currency)}"
        raise Rejected(Reason.amount_exceeds, message, field="amount")
    if not amount:
        raise Rejected(Reason.invalid_field, "must be more than 0", field="amount")
    return _replace(state, refundable_minor=refundable - amount)


def _reinstate(state: ConversionState, request: AdjustmentRequest) -> ConversionState:
    if state.status == "rejected":
        raise _cannot_be(state, "reinstated")
    refunded = state.order_value_minor - state.refundable_minor
    amount = refunded if request.amount_minor is None else request.amount_minor
    if not refunded:
        message = "is not allowed: nothing of the conversion is refunded"
        raise Rejected(Reason.not_adjustable, message, field="kind")
    if amount > refunded:
        message = f"is more than was refunded: {format_major(refunded, state.currency)}"
        raise Rejected(Reason.amount_exceeds, message, field="amount")
    if not amount:
        raise Rejected(Reason.invalid_field, "must be more than 0", field="amount")
    return _replace(state, refundable_minor=state.refundable_minor + amount)


def _restate(state: ConversionState, request: AdjustmentRequest) -> ConversionState:
    if state.status == "rejected":
        raise _cannot_be(state, "restated")
    if request.order_value_minor is None:
        raise Rejected(Reason.missing_field, "is required", field="order_value")
    refunded = state.order_value_minor - state.refundable_minor
    if request.order_value_minor < refunded:
        message = f"is less than was refunded: {format_major(refunded, state.currency)}"
        raise Rejected(Reason.amount_exceeds, message, field="order_value")
    value = request.order_value_minor
    return _replace(
        state,
        order_value_minor=value,
        refundable_minor=value - refunded,
        stated_ms=max(state.stated_ms, request.stated_ms),
    )


def _attribute(state: ConversionState, request: AdjustmentRequest) -> ConversionState:
    if state.attribution not in ("none", "manual"):
        message = f"the conversion is attributed by its {state.attribution.replace('_', ' ')}"
        raise Rejected(Reason.not_adjustable, message)
    if state.payout == "paid":
        message = "the conversion's commission is paid: unpay it first"
        raise Rejected(Reason.not_adjustable, message)
    payee = request.payee
    if payee is None:
        raise Rejected(Reason.missing_field, "or affiliate_id is required", field="tracking_code")
    method: AttributionMethod = "manual"
    return _replace(
        state,
        attribution=method,
        campaign=payee.campaign,
        affiliate=payee.affiliate,
        link=payee.link,
        rule=payee.rule,
        rate=payee.exchange_rate,
        commission_reason=payee.reason,
    )


def _pay(state: ConversionState, request: AdjustmentRequest) -> ConversionState:
    if state.status != "approved":
        raise _cannot_be(state, "paid")
    if state.payout == "paid":
        raise Rejected(
            Reason.not_adjustable, "is not allowed: the conversion is paid already", field="kind"
        )
    return _replace(state, payout="paid", paid_minor=state.commission_minor)


def _unpay(state: ConversionState, request: AdjustmentRequest) -> ConversionState:
    if state.payout == "unpaid":
        raise Rejected(
            Reason.not_adjustable, "is not allowed: the conversion is not paid", field="kind"
        )
    return _replace(state, payout="unpaid", paid_minor=None)


TRANSITIONS: dict[
    AdjustmentKind, Callable[[ConversionState, AdjustmentRequest], ConversionState]
] = {
    "approved": _approve,
    "rejected": _reject,
    "refunded": _refund,
    "reinstated": _reinstate,
    "restated": _restate,
    "attributed": _attribute,
    "paid": _pay,
    "unpaid": _unpay,
    "superseded": _supersede,
}
