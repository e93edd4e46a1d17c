"""`/v1/rates`: dated exchange rates, by which a commission's amounts are converted."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from linkjolt.datasets import Account
from linkjolt.money import check_currency
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Rate, public_id
from linkjolt.web.collections import Call, Collection, Described
from linkjolt.web.forms import Instant, in_utc

# An edge holds all of them in memory, some 200 bytes each.
RATES_MAX = 20_000
_RATE_MIN, _RATE_MAX = Decimal("1e-12"), Decimal("1e12")
_RATE_DIGITS_MAX = 20
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
CurrencyCode = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=3,
        description="An ISO 4217 code, in any letter case.",
    ),
]
DateOrInstant = Annotated[
    str,
    Meta(
        max_length=64,
        description="A date (its midnight in UTC) or an RFC 3339 instant with an offset.",
        examples=["2026-01-01", "2026-01-01T08:00:00+01:00"],
    ),
]


class RateForm(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"from_": "from"},
):
    """An exchange rate to create: 1 of the currency `from` is worth `rate` of `to`."""

    from_: CurrencyCode
    to: CurrencyCode
    rate: Decimal
    valid_from: DateOrInstant | None = None


class RateAnswer(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """An exchange rate, valid from `valid_from` until the next one of its currencies."""

    id: str
    from_: str
    to: str
    rate: Decimal
    valid_from: Instant
    created_at: Instant


def new_rate(form: RateForm, account: Account, now: datetime) -> Rate:
    """Makes the rate of a form, its number still 0; Rejected, naming the field."""
    base, quote = form.from_.upper(), form.to.upper()
    check_currency(base, "from")
    check_currency(quote, "to")
    if base == quote:
        raise Rejected(Reason.invalid_field, "must be another currency than from", field="to")
    return Rate(
        number=0,
        account=account,
        from_=base,
        to=quote,
        rate=_checked_rate(form.rate),
        valid_from=now if form.valid_from is None else _read_start(form.valid_from),
        created_at=now,
    )


def _checked_rate(rate: Decimal) -> Decimal:
    if not rate.is_finite() or not _RATE_MIN <= rate <= _RATE_MAX:
        message = f"must be from {_RATE_MIN:f} to {_RATE_MAX:f}"
        raise Rejected(Reason.invalid_field, message, field="rate")
    if len(rate.as_tuple().digits) > _RATE_DIGITS_MAX:
        message = f"has more than {_RATE_DIGITS_MAX} digits"
        raise Rejected(Reason.invalid_field, message, field="rate")
    return rate


def _read_start(text: str) -> datetime:
    try:
        # ISO 8601 has more forms than are meant, such as week dates.
        start = msgspec.convert(text, date | None)
        starts_at = datetime.combine(start, time(), UTC) if start else None
    except msgspec.ValidationError:
        starts_at = None
    if starts_at is None:
        try:
            starts_at = in_utc(msgspec.convert(text, Instant), "valid_from")
        except msgspec.ValidationError:
            message = "must be a date, or an RFC 3339 instant with an offset"
            raise Rejected(Reason.invalid_field, message, field="valid_from") from None
    if starts_at < _EARLIEST:
        raise Rejected(Reason.invalid_field, "is before the year 2000", field="valid_from")
    return starts_at


def rate_answer(rate: Rate) -> RateAnswer:
    """Answers a rate."""
    return RateAnswer(
        id=public_id("rate", rate.number),
        from_=rate.from_,
        to=rate.to,
        rate=rate.rate,
        valid_from=rate.valid_from,
        created_at=rate.created_at,
    )


async def _create(call: Call, form: RateForm) -> RateAnswer:
    rate = new_rate(form, call.account, call.now)
    if await call.registry.count(Rate, call.account) >= RATES_MAX:
        message = f"the account has {RATES_MAX} rates already: delete some that are old"
        raise Rejected(Reason.conflict, message)
    return rate_answer(await call.registry.create(rate))


_FORM: dict[str, Any] = {"from": "JPY", "to": "USD", "rate": 0.0067, "valid_from": "2026-01-01"}
RATES = Collection[Rate, RateForm, RateForm](
    path="/v1/rates",
    described=Described(
        id="Rate",
        tag="Rates",
        noun="rate",
        note="Creates an exchange rate. It is valid from `valid_from` (now if left out) until the"
        " next rate of the same two currencies; what was converted before stays as it was.",
        answer=RateAnswer,
        form_example=_FORM,
        example={
            "id": "rate_1",
            **_FORM,
            "valid_from": "2026-01-01T00:00:00Z",
            "created_at": "2026-05-04T10:00:00Z",
        },
    ),
    entry=Rate,
    form=RateForm,
    read_scope="links:read or reports:read",
    write_scope="rates:write",
    create=_create,
    answer=lambda _, rate: rate_answer(rate),
)
