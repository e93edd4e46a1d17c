"""What each kind of adjustment does to a conversion's state, and when it cannot; pure."""

from collections.abc import Callable
from hashlib import blake2s

import msgspec

from linkjolt.events import Adjusted, Attributed, ConversionState, Status
from linkjolt.money import major_text
from linkjolt.reasons import Reason, Rejected


class Earner(msgspec.Struct, frozen=True, kw_only=True):
    """To whom a conversion is given by hand, and the version of the rule that pays him."""

    campaign: int
    affiliate: int
    rule: int
    link: int = 0


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment as it is asked for; amounts in minor units of the conversion's currency.

    `amount_minor` is of a refund (None: all that is left), `order_value_minor` of a restatement,
    before refunds. `author` is the public id of an API key, or what stands for one.
    """

    adjustment_id: str
    kind: Adjusted
    author: str
    amount_minor: int | None = None
    order_value_minor: int | None = None
    reason: str = ""
    earner: Earner | None = None

    @property
    def digest(self) -> str:
        """Equal for requests that ask for the same, whoever asks."""
        earner = self.earner and (self.earner.campaign, self.earner.affiliate, self.earner.link)
        said = (self.kind, self.amount_minor, self.order_value_minor, self.reason, earner)
        return blake2s(msgspec.json.encode(said), digest_size=8).hexdigest()


def _set(state: ConversionState, **changes: object) -> ConversionState:
    return msgspec.structs.replace(state, **changes)


def _cannot(state: ConversionState, what: str) -> Rejected:
    message = f"a conversion that is {state.status} cannot be {what}"
    return Rejected(Reason.not_adjustable, message, field="kind")


def _approve(state: ConversionState, wanted: Wanted) -> ConversionState:
    return _become(state, "approved")


def _reject(state: ConversionState, wanted: Wanted) -> ConversionState:
    if not wanted.reason:
        message = "is required: say why the conversion is rejected"
        raise Rejected(Reason.missing_field, message, field="reason")
    return _become(state, "rejected")


def _become(state: ConversionState, status: Status) -> ConversionState:
    if state.status == status:
        raise Rejected(Reason.not_adjustable, f"is {status} already", field="kind")
    return _set(state, status=status)


def _refund(state: ConversionState, wanted: Wanted) -> ConversionState:
    if state.status == "rejected":
        raise _cannot(state, "refunded")
    left = state.refundable_minor
    amount = left if wanted.amount_minor is None else wanted.amount_minor
    if not left:
        raise Rejected(Reason.not_adjustable, "nothing is left to refund", field="kind")
    if amount > left:
        message = f"is more than is left to refund: {major_text(left, state.currency)}"
        raise Rejected(Reason.amount_exceeds, message, field="amount")
    if not amount:
        raise Rejected(Reason.invalid_field, "must be more than 0", field="amount")
    return _set(state, refundable_minor=left - amount)


def _restate(state: ConversionState, wanted: Wanted) -> ConversionState:
    if state.status == "rejected":
        raise _cannot(state, "restated")
    if wanted.order_value_minor is None:
        raise Rejected(Reason.missing_field, "is required", field="order_value")
    refunded = state.order_value_minor - state.refundable_minor
    if wanted.order_value_minor < refunded:
        message = f"is less than was refunded: {major_text(refunded, state.currency)}"
        raise Rejected(Reason.amount_exceeds, message, field="order_value")
    value = wanted.order_value_minor
    return _set(state, order_value_minor=value, refundable_minor=value - refunded)


def _attribute(state: ConversionState, wanted: Wanted) -> ConversionState:
    if state.attribution not in ("none", "manual"):
        message = f"is attributed by its {state.attribution.replace('_', ' ')}"
        raise Rejected(Reason.not_adjustable, message)
    earner = wanted.earner
    if earner is None:
        raise Rejected(Reason.missing_field, "or affiliate_id is required", field="tracking_code")
    by: Attributed = "manual"
    return _set(
        state,
        attribution=by,
        campaign=earner.campaign,
        affiliate=earner.affiliate,
        link=earner.link,
        rule=earner.rule,
        commission_reason="",
    )


def _pay(state: ConversionState, wanted: Wanted) -> ConversionState:
    if state.status != "approved":
        raise _cannot(state, "paid")
    if state.payout == "paid":
        raise Rejected(Reason.not_adjustable, "is paid already", field="kind")
    return _set(state, payout="paid")


def _unpay(state: ConversionState, wanted: Wanted) -> ConversionState:
    if state.payout == "unpaid":
        raise Rejected(Reason.not_adjustable, "is not paid", field="kind")
    return _set(state, payout="unpaid")


STEPS: dict[Adjusted, Callable[[ConversionState, Wanted], ConversionState]] = {
    "approved": _approve,
    "rejected": _reject,
    "refunded": _refund,
    "restated": _restate,
    "attributed": _attribute,
    "paid": _pay,
    "unpaid": _unpay,
}
