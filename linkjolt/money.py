"""Parses amounts exactly into minor units and computes commissions, always truncated."""

from decimal import Context, Decimal, Inexact, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import ceil, floor

import msgspec

from linkjolt.reasons import Reason, Rejected

# ISO 4217, active codes, by the number of digits after the decimal point.
_CODES_BY_DIGITS: dict[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD
    CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
    GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD
    MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP
    PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS
    TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG""",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
CURRENCIES: dict[str, int] = {
    code: digits for digits, codes in _CODES_BY_DIGITS.items() for code in codes.split()
}
_RATE_SCALE = 10_000
# A signed 64-bit sum of 9,000 such orders still fits.
_MINOR_MAX = 10**15
_AMOUNT_MIN, _AMOUNT_MAX = Decimal(0), Decimal(_MINOR_MAX)
_SCALE_OF_DIGITS = [Decimal(10**digits) for digits in range(5)]
# Raises instead of rounding; 28 digits suffice for every amount that is accepted.
_EXACT_CONTEXT = Context(prec=28, traps=[Inexact, InvalidOperation])


class _CommissionKind(
    msgspec.Struct,
    frozen=True,
    # The key of a cache for every conversion.
    cache_hash=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    tag=str.lower,
):
    """The common encoding of every kind of commission."""


class Percentage(_CommissionKind, frozen=True, cache_hash=True):
    """`rate` per cent of the order value.

    Every kind may have a `cap` in major units, the most that one order earns, and may pay for a
    customer's first order only.
    """

    rate: Decimal
    cap: Decimal | None = None
    first_order_only: bool = False


class Flat(_CommissionKind, frozen=True, cache_hash=True):
    """`amount` in major units of the campaign's currency for each conversion."""

    amount: Decimal
    cap: Decimal | None = None
    first_order_only: bool = False


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """`rate` per cent for orders of at least `from` major units."""

    from_: Decimal
    rate: Decimal


class Tiered(_CommissionKind, frozen=True, cache_hash=True):
    """The rate of the highest tier that the order value reaches; nothing below the first."""

    tiers: tuple[Tier, ...]
    cap: Decimal | None = None
    first_order_only: bool = False


Commission = Percentage | Flat | Tiered
# Amount, steps and cap, as `compile_rule` returns them.
CompiledRule = tuple[int, tuple[tuple[int, int], ...], int]


def check_currency(code: str, field: str = "currency") -> int:
    """Returns the number of decimals of an ISO 4217 code; Rejected for any other text."""
    digits = CURRENCIES.get(code)
    if digits is None:
        raise Rejected(Reason.invalid_field, f"{code[:8]!r} is no ISO 4217 currency", field=field)
    return digits


def to_minor(amount: Decimal, currency: str, field: str) -> int:
    """Converts a non-negative amount exactly; Rejected beyond the currency's decimals."""
    digits = check_currency(currency)
    minor = _exact_minor_or_none(amount, digits)
    return _checked_minor(amount, digits, currency, field) if minor is None else minor


def _exact_minor_or_none(amount: Decimal, digits: int) -> int | None:
    """Converts at a third of the checked cost; None where the checks must decide."""
    try:
        if _AMOUNT_MIN <= amount <= _AMOUNT_MAX:
            shifted = _EXACT_CONTEXT.multiply(amount, _SCALE_OF_DIGITS[digits])
            minor = int(shifted)
            return minor if minor == shifted and minor <= _MINOR_MAX else None
    except (Inexact, InvalidOperation):
        pass
    return None


def check_amount(amount: Decimal, field: str) -> None:
    """Raises Rejected, naming the field, for what is an amount in no currency."""
    _check_range(amount, field)
    shifted = _shift(amount, 4)
    if shifted != shifted.to_integral_value():
        raise Rejected(Reason.invalid_field, "has more than 4 decimals", field=field)


def _check_range(amount: Decimal, field: str) -> None:
    if not amount.is_finite() or amount < 0:
        raise Rejected(Reason.invalid_field, "must be a number of at least 0", field=field)
    if amount > _MINOR_MAX:
        raise Rejected(Reason.invalid_field, "is too large", field=field)


def _checked_minor(amount: Decimal, digits: int, currency: str, field: str) -> int:
    _check_range(amount, field)
    minor = _shift(amount, digits)
    if minor != minor.to_integral_value():
        message = f"has more than the {digits} decimals of {currency}"
        raise Rejected(Reason.invalid_field, message, field=field)
    if minor > _MINOR_MAX:
        raise Rejected(Reason.invalid_field, "is too large", field=field)
    return int(minor)


def _shift(amount: Decimal, digits: int) -> Decimal:
    # Not scaleb(), which rounds to 28 digits: 1.00000000000000000000000000001 would pass.
    sign, numbers, exponent = amount.as_tuple()
    assert isinstance(exponent, int)
    return Decimal((sign, numbers, exponent + digits))


def to_major(minor: int, currency: str) -> Decimal:
    """Converts minor units to major ones with exactly the currency's decimals."""
    return Decimal(minor).scaleb(-CURRENCIES[currency])


def format_major(minor: int, currency: str) -> str:
    """Formats non-negative minor units like `99.99`, at half the cost of `to_major`."""
    digits = CURRENCIES[currency]
    text = str(minor).zfill(digits + 1)
    return f"{text[:-digits]}.{text[-digits:]}" if digits else text


def check_commission(rule: Commission, currency: str) -> None:
    """Raises Rejected, naming the field, if a commission cannot be computed exactly."""
    if rule.cap is not None:
        to_minor(rule.cap, currency, "commission.cap")
    match rule:
        case Percentage():
            _check_rate(rule.rate, "commission.rate")
        case Flat():
            to_minor(rule.amount, currency, "commission.amount")
        case Tiered():
            _check_tiers(rule.tiers, currency)


def _check_rate(rate: Decimal, field: str) -> None:
    if not rate.is_finite() or not 0 <= rate <= 100:
        raise Rejected(Reason.invalid_field, "must be from 0 to 100", field=field)
    shifted = _shift(rate, 4)
    if shifted != shifted.to_integral_value():
        raise Rejected(Reason.invalid_field, "has more than 4 decimals", field=field)


def _check_tiers(tiers: tuple[Tier, ...], currency: str) -> None:
    if not tiers:
        raise Rejected(Reason.invalid_field, "needs at least one tier", field="commission.tiers")
    for index, tier in enumerate(tiers):
        to_minor(tier.from_, currency, f"commission.tiers[{index}].from")
        _check_rate(tier.rate, f"commission.tiers[{index}].rate")
    if any(low.from_ >= high.from_ for low, high in pairwise(tiers)):
        message = "must rise from tier to tier"
        raise Rejected(Reason.invalid_field, message, field="commission.tiers")


def has_amounts(rule: Commission) -> bool:
    """Returns whether a rule has amounts, which are in the campaign's currency."""
    return rule.cap is not None or not isinstance(rule, Percentage)


def format_exchange_rate(base: str, rate: Decimal, quote: str) -> str:
    """Formats `1 JPY = 0.0067 USD`, the form in which a conversion keeps its exchange rate."""
    return f"1 {base} = {rate:f} {quote}"


def exchange_rate_fields(text: str) -> tuple[Decimal | None, str | None, str | None]:
    """Splits what `format_exchange_rate` formats into rate, base and quote; '' into None."""
    if not text:
        return None, None, None
    _, base, _, rate, quote = text.split(" ")
    return Decimal(rate), base, quote


def commission_minor(
    rule: Commission,
    order_value_minor: int,
    currency: str,
    exchange_rate: str = "",
    tier_value_minor: int | None = None,
) -> int:
    """Computes the commission in minor units, truncated: 30 % of 9999 is 2999.

    `exchange_rate` converts the rule's amounts into `currency`; '' where they are in it. The tier
    is that of `tier_value_minor`, None for that of the order value.
    """
    compiled = compile_rule(rule, currency, exchange_rate)
    return compiled_commission(compiled, order_value_minor, tier_value_minor)


def compiled_commission(
    rule: CompiledRule, order_value_minor: int, tier_value_minor: int | None = None
) -> int:
    """Computes the commission by a compiled rule, as `commission_minor`."""
    amount, steps, cap = rule
    reached_minor = order_value_minor if tier_value_minor is None else tier_value_minor
    for from_minor, rate in steps:
        if reached_minor >= from_minor:
            # Rates have at most 4 decimals, so this is whole-number arithmetic without rounding.
            amount = order_value_minor * rate // (100 * _RATE_SCALE)
            break
    return amount if amount <= cap else cap


@lru_cache(maxsize=4_096)
def compile_rule(rule: Commission, currency: str, exchange_rate: str) -> CompiledRule:
    """Compiles a commission into whole numbers: (amount, steps, cap), once for each rule.

    A step is (order value from which it applies, rate), the highest first. The amount is paid
    where no step applies.
    """
    scale = Fraction(10 ** check_currency(currency))
    if exchange_rate:
        scale *= _units_of(currency, exchange_rate)
    cap = _MINOR_MAX if rule.cap is None else min(floor(Fraction(rule.cap) * scale), _MINOR_MAX)
    match rule:
        case Percentage():
            return 0, ((0, int(rule.rate * _RATE_SCALE)),), cap
        case Flat():
            return floor(Fraction(rule.amount) * scale), (), cap
        case Tiered():
            steps = [
                (ceil(Fraction(tier.from_) * scale), int(tier.rate * _RATE_SCALE))
                for tier in rule.tiers
            ]
            return 0, tuple(reversed(steps)), cap


def _units_of(currency: str, exchange_rate: str) -> Fraction:
    """Returns how many units of `currency` one unit of the rate's other currency is worth."""
    _, base, _, rate, _ = exchange_rate.split(" ")
    return 1 / Fraction(rate) if base == currency else Fraction(rate)
