"""Checks the bodies of adjustments, and makes the requests to the ledger of them."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from linkjolt.conversions.adjustment_kinds import AdjustmentRequest, Payee
from linkjolt.events import AdjustmentKind, ConversionState
from linkjolt.money import to_minor
from linkjolt.reasons import Reason, Rejected
from linkjolt.web import posted_fields

F = TypeVar("F")
Text128 = Annotated[str, Meta(min_length=1, max_length=128)]
Note = Annotated[str, Meta(max_length=500)]
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_READERS: dict[str, posted_fields.Reader] = {
    **dict.fromkeys(
        ("adjustment_id", "tracking_code", "affiliate_id", "campaign_id"),
        posted_fields.read_identifier,
    ),
    "amount": posted_fields.read_amount,
    "order_value": posted_fields.read_amount,
    "reason": posted_fields.read_optional,
}
_KINDS: dict[str, AdjustmentKind] = {
    "approve": "approved",
    "reject": "rejected",
    "refund": "refunded",
    "restate": "restated",
    "pay": "paid",
    "unpay": "unpaid",
}


class AdjustmentForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An adjustment of a conversion.

    `amount` belongs to a refund (absent: all that is left), `order_value` to a restatement.
    """

    kind: Literal["approve", "reject", "refund", "restate", "pay", "unpay"]
    adjustment_id: Text128
    amount: Decimal | None = None
    order_value: Decimal | None = None
    reason: Note = ""


class AttributionForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The affiliate to give the conversion to: by a link, or by affiliate and campaign."""

    adjustment_id: Text128
    tracking_code: Text128 | None = None
    affiliate_id: Text128 | None = None
    campaign_id: Text128 | None = None
    reason: Note = ""


def decode_form(body: bytes, form: type[F]) -> F:
    """Decodes a form as shops write it; Rejected, naming the field, for anything else."""
    return posted_fields.decode_form(body, form, _READERS)


def check_adjustment(form: AdjustmentForm) -> None:
    """Rejected, naming the field, for what no conversion could take."""
    _check_texts(form.adjustment_id, form.reason)
    for name, value, kind in (
        ("amount", form.amount, "refund"),
        ("order_value", form.order_value, "restate"),
    ):
        if value is not None and form.kind != kind:
            message = f"goes only with the kind {kind}"
            raise Rejected(Reason.invalid_field, message, field=name)


def check_attribution(form: AttributionForm) -> None:
    """As `check_adjustment`."""
    _check_texts(form.adjustment_id, form.reason)
    if form.tracking_code is not None:
        if form.affiliate_id is not None or form.campaign_id is not None:
            message = "says affiliate and campaign by itself: leave them out"
            raise Rejected(Reason.invalid_field, message, field="tracking_code")
    elif form.affiliate_id is None:
        message = "or tracking_code is required"
        raise Rejected(Reason.missing_field, message, field="affiliate_id")
    elif form.campaign_id is None:
        raise Rejected(Reason.missing_field, "is required", field="campaign_id")


def _check_texts(adjustment_id: str, reason: str) -> None:
    for field, text in (("adjustment_id", adjustment_id), ("reason", reason)):
        if _CONTROL.search(text):
            raise Rejected(Reason.invalid_field, "has control characters", field=field)


def wanted_by(form: AdjustmentForm, author: str) -> Callable[[ConversionState], AdjustmentRequest]:
    """What a form asks of a conversion, in its currency."""

    def wanted(state: ConversionState) -> AdjustmentRequest:
        amount, value = form.amount, form.order_value
        return AdjustmentRequest(
            adjustment_id=form.adjustment_id,
            kind=_KINDS[form.kind],
            author=author,
            amount_minor=None if amount is None else to_minor(amount, state.currency, "amount"),
            order_value_minor=(
                None if value is None else to_minor(value, state.currency, "order_value")
            ),
            reason=form.reason,
        )

    return wanted


def attribution_by(
    form: AttributionForm, author: str, earner: Callable[[ConversionState], Payee]
) -> Callable[[ConversionState], AdjustmentRequest]:
    """As `wanted_by`; `earner` is who was named, paid by the rule of the conversion's time."""

    def wanted(state: ConversionState) -> AdjustmentRequest:
        return AdjustmentRequest(
            adjustment_id=form.adjustment_id,
            kind="attributed",
            author=author,
            reason=form.reason,
            payee=earner(state),
        )

    return wanted
