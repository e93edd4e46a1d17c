"""Checks the bodies of adjustments, and makes proposals of them."""

import re
from decimal import Decimal
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from linkjolt.conversions.proposed import Author, ProposedAdjustment
from linkjolt.events import AdjustmentKind
from linkjolt.money import check_amount
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.checks import check_text
from linkjolt.registry.entries import ApiKey
from linkjolt.web import posted_fields
from linkjolt.web.forms import reference

F = TypeVar("F")
SCOPE = "conversions:write"
PAYOUT_SCOPE = "payouts:write"
ADJUSTMENT_SCOPE = f"{SCOPE} or {PAYOUT_SCOPE}"
Text128 = Annotated[str, Meta(min_length=1, max_length=128)]
Text64 = Annotated[str, Meta(min_length=1, max_length=64)]
EventName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
Note = Annotated[str, Meta(max_length=500)]
AdjustmentVerb = Literal["approve", "reject", "refund", "reinstate", "restate", "pay", "unpay"]
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_READERS: dict[str, posted_fields.Reader] = {
    **dict.fromkeys(
        (
            *("adjustment_id", "conversion_id", "order_id"),
            *("tracking_code", "affiliate_id", "campaign_id"),
        ),
        posted_fields.read_identifier,
    ),
    "event": posted_fields.read_optional,
    "amount": posted_fields.read_amount,
    "order_value": posted_fields.read_amount,
    "reason": posted_fields.read_optional,
}
_KINDS: dict[AdjustmentVerb, AdjustmentKind] = {
    "approve": "approved",
    "reject": "rejected",
    "refund": "refunded",
    "reinstate": "reinstated",
    "restate": "restated",
    "pay": "paid",
    "unpay": "unpaid",
}
VERBS: dict[AdjustmentKind, AdjustmentVerb] = {kind: verb for verb, kind in _KINDS.items()}


class AdjustmentForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An adjustment of a conversion.

    `amount` is of a refund (absent: all that is left) or of its reinstatement (absent: all that was
    refunded), `order_value` of a restatement.
    """

    kind: AdjustmentVerb
    adjustment_id: Text128
    amount: Decimal | None = None
    order_value: Decimal | None = None
    reason: Note = ""


class OrderAdjustmentForm(AdjustmentForm, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An adjustment of the conversion with `conversion_id`, or of an order.

    An order is named by `order_id` and `event`; `campaign_id` is needed where the conversion was
    posted with a key that is bound to this campaign.
    """

    conversion_id: Text128 | None = None
    order_id: Text128 | None = None
    event: EventName | None = None
    campaign_id: Text64 | None = None


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
    check_text(form.adjustment_id, "adjustment_id")
    check_text(form.reason, "reason")
    amounts = (
        ("amount", form.amount, ("refund", "reinstate")),
        ("order_value", form.order_value, ("restate",)),
    )
    for name, value, verbs in amounts:
        if value is None:
            continue
        if form.kind not in verbs:
            message = f"goes only with the kind {' or '.join(verbs)}"
            raise Rejected(Reason.invalid_field, message, field=name)
        check_amount(value, name)
    if form.amount is not None and not form.amount:
        raise Rejected(Reason.invalid_field, "must be more than 0", field="amount")
    if form.kind == "restate" and form.order_value is None:
        raise Rejected(Reason.missing_field, "is required", field="order_value")
    if form.kind == "reject" and not form.reason:
        message = "is required: say why the conversion is rejected"
        raise Rejected(Reason.missing_field, message, field="reason")


def check_scope(form: AdjustmentForm, key: ApiKey) -> None:
    """Rejected unless the key has the scope that this kind of adjustment needs."""
    needed = PAYOUT_SCOPE if form.kind in ("pay", "unpay") else SCOPE
    if not key.allows(needed):
        message = f"needs the scope {needed}, which the API key lacks"
        raise Rejected(Reason.forbidden, message, field="kind")


def check_target(form: OrderAdjustmentForm) -> None:
    """Rejected, naming the field, unless the form names a conversion or an order."""
    _check_texts(conversion_id=form.conversion_id, order_id=form.order_id)
    if form.conversion_id is None:
        if form.order_id is None:
            message = "or conversion_id is required"
            raise Rejected(Reason.missing_field, message, field="order_id")
        return
    for name, value in (
        ("order_id", form.order_id),
        ("event", form.event),
        ("campaign_id", form.campaign_id),
    ):
        if value is not None:
            raise Rejected(Reason.invalid_field, "goes without conversion_id", field=name)


def check_attribution(form: AttributionForm) -> None:
    """As `check_adjustment`."""
    check_text(form.adjustment_id, "adjustment_id")
    check_text(form.reason, "reason")
    if form.tracking_code is not None:
        if form.affiliate_id is not None or form.campaign_id is not None:
            message = "says affiliate and campaign by itself: leave them out"
            raise Rejected(Reason.invalid_field, message, field="tracking_code")
    elif form.affiliate_id is None:
        message = "or tracking_code is required"
        raise Rejected(Reason.missing_field, message, field="affiliate_id")
    elif form.campaign_id is None:
        raise Rejected(Reason.missing_field, "is required", field="campaign_id")


def proposal_of(form: AdjustmentForm, author: Author) -> ProposedAdjustment:
    """Returns what a checked form proposes."""
    campaign_id = form.campaign_id if isinstance(form, OrderAdjustmentForm) else None
    return ProposedAdjustment(
        adjustment_id=form.adjustment_id,
        kind=_KINDS[form.kind],
        author=author,
        amount=form.amount,
        order_value=form.order_value,
        reason=form.reason,
        campaign=reference("campaign", campaign_id) if campaign_id else 0,
    )


def _check_texts(**texts: str | None) -> None:
    for field, text in texts.items():
        if _CONTROL.search(text or ""):
            raise Rejected(Reason.invalid_field, "has control characters", field=field)
