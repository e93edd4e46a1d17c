"""Proposes adjustments in major units, checks who proposes them, and makes requests of them."""

from collections.abc import Callable
from decimal import Decimal
from hashlib import blake2s

import msgspec

from linkjolt.conversions.adjustment_kinds import AdjustmentRequest, Payee
from linkjolt.events import AdjustmentKind, ConversionState, Hand, is_stronger
from linkjolt.money import to_minor
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey


class Author(msgspec.Struct, frozen=True):
    """The author of an adjustment: a name for histories, a hand, and its only campaign (0: any)."""

    name: str
    hand: Hand = "key"
    campaign: int = 0


def author_of(key: ApiKey) -> Author:
    """Returns the author whose requests carry this key."""
    return Author(key.id, "bound" if key.campaign else "key", campaign=key.campaign)


def check_authority(state: ConversionState, author: Author) -> None:
    """Rejected unless the author may change the conversion."""
    check_campaign(state, author)
    if is_stronger(state.hand, author.hand):
        message = "the conversion was posted with more authority than that of this request"
        raise Rejected(Reason.not_adjustable, message)


def check_campaign(state: ConversionState, author: Author) -> None:
    """Rejected if the conversion is none of the author's campaign."""
    if author.campaign and author.campaign != state.campaign:
        raise Rejected(Reason.forbidden, "the API key is for another campaign")


class ProposedAdjustment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An adjustment, perhaps of a conversion that is not stored yet; amounts in major units.

    Where `currency`, `campaign` or `click_id` is given, the conversion must have the same. The
    other fields as in `AdjustmentRequest`.
    """

    adjustment_id: str
    kind: AdjustmentKind
    author: Author
    amount: Decimal | None = None
    order_value: Decimal | None = None
    reason: str = ""
    currency: str = ""
    campaign: int = 0
    click_id: str = ""

    @property
    def digest(self) -> str:
        """Returns a hash that is equal for equal proposals."""
        amounts = [
            None if value is None else value.normalize()
            for value in (self.amount, self.order_value)
        ]
        asked = (self.kind, *amounts, self.reason, self.currency, self.campaign, self.click_id)
        return blake2s(msgspec.json.encode(asked), digest_size=8).hexdigest()

    def is_for(self, state: ConversionState) -> bool:
        """Returns whether `request_for` allows the adjustment."""
        try:
            self.request_for(state)
        except Rejected:
            return False
        return True

    def request_for(self, state: ConversionState) -> AdjustmentRequest:
        """Makes the request to the ledger; Rejected where it is not for this conversion."""
        check_authority(state, self.author)
        self._check_conversion(state)
        amount, value, currency = self.amount, self.order_value, state.currency
        return AdjustmentRequest(
            adjustment_id=self.adjustment_id,
            kind=self.kind,
            author=self.author.name,
            amount_minor=None if amount is None else to_minor(amount, currency, "amount"),
            order_value_minor=None if value is None else to_minor(value, currency, "order_value"),
            reason=self.reason,
            hand=self.author.hand,
        )

    def _check_conversion(self, state: ConversionState) -> None:
        # A conversion that nobody earns has no campaign.
        if self.campaign and state.campaign not in (0, self.campaign):
            message = "is not the campaign of this order"
            raise Rejected(Reason.unknown_reference, message, field="campaign_id")
        if self.click_id and self.click_id != state.click_id:
            message = "is not the click of this order"
            raise Rejected(Reason.conflict, message, field="click_id")
        if self.currency and self.currency != state.currency:
            message = f"must be the order's, {state.currency}"
            raise Rejected(Reason.conflict, message, field="currency")


def propose_payee(
    adjustment_id: str, author: Author, reason: str, payee_of: Callable[[ConversionState], Payee]
) -> Callable[[ConversionState], AdjustmentRequest]:
    """Returns a function that requests to give a conversion to a payee."""

    def request_for(state: ConversionState) -> AdjustmentRequest:
        check_authority(state, author)
        payee = payee_of(state)
        if author.campaign and payee.campaign != author.campaign:
            raise Rejected(Reason.forbidden, "the API key is for another campaign")
        return AdjustmentRequest(
            adjustment_id=adjustment_id,
            kind="attributed",
            author=author.name,
            reason=reason,
            payee=payee,
            hand=author.hand,
        )

    return request_for
