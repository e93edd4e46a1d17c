"""Builds the rows of a conversion and of its adjustments; pure."""

from typing import Any

import msgspec

from aggregator.rows.enrich import click_time_ms
from aggregator.rows.rows import CONVERSION_COLUMNS, ClickRow, ConversionRow
from linkjolt.dimensions import SPARSE
from linkjolt.events import Adjustment, Conversion, Effect, FactDimensions

# The dimensions of a click that its conversions carry, under the same names.
CARRIED_COLUMNS = (
    "verdict",
    "country",
    "language",
    "device",
    "os",
    "browser",
    "referrer_host",
    *(name for name in SPARSE if name != "coupon_code"),
)
# The fields that a conversion and its row have under one name and with one meaning.
_COPIED_COLUMNS = tuple(
    name
    for name in Conversion.__struct_fields__
    if name in CONVERSION_COLUMNS and name not in ("reason", "coupon_code", "notes")
)

_encode = msgspec.json.Encoder().encode


def conversion_row(
    conversion: Conversion,
    click: ClickRow | None,
    *,
    stream_number: int,
    pos: int,
    click_late: bool,
) -> ConversionRow:
    """Builds the first row of a conversion, with the dimensions of its click if that is known.

    `click_late`: the click did not arrive in time, which is the reason if there is no other.
    """
    copied: dict[str, Any] = {name: getattr(conversion, name) for name in _COPIED_COLUMNS}
    carried: dict[str, Any] = (
        {name: getattr(click, name) for name in CARRIED_COLUMNS} if click else {}
    )
    if not conversion.verified:
        # It counts only as unverified; the amounts are those of its verification.
        copied |= {"order_value_minor": 0, "commission_minor": 0}
    counted, pending = conversion.verified, conversion.status == "pending"
    return ConversionRow(
        time=conversion.time_ms / 1000,
        click_time=click_time_ms(conversion.click_id) / 1000 if conversion.click_id else 0.0,
        kind="created",
        reason=conversion.reason or ("click_late" if click_late else ""),
        conversions=int(counted),
        pending=int(counted and pending),
        approved=int(counted and not pending),
        unverified=int(not counted),
        unverified_now=not counted,
        gross_change_minor=conversion.order_value_minor,
        notes=",".join(conversion.all_notes),
        coupon_code=conversion.coupon_code or (click.coupon_code if click else ""),
        payout="unpaid",
        s=stream_number,
        pos=pos,
        **copied,
        **carried,
    )


def adjustment_rows(
    adjustment: Adjustment, first: ConversionRow, *, stream_number: int, pos: int
) -> list[ConversionRow]:
    """Builds the row of an adjustment; before it, if the conversion moves, one that takes it away.

    `first` is the conversion's first row, whose dimensions all its rows carry.
    """
    rows = [
        _adjustment_row(adjustment, first, adjustment.kind, adjustment.place, adjustment.effect)
    ]
    if adjustment.left is not None and adjustment.taken is not None:
        rows.insert(
            0,
            _adjustment_row(
                adjustment, first, "detached", adjustment.left, negate(adjustment.taken)
            ),
        )
    rows[-1].gross_change_minor = adjustment.gross_change_minor
    for row in rows:
        row.s, row.pos = stream_number, pos
    rows[-1].fact = _encode(adjustment).decode()
    return rows


def negate(effect: Effect) -> Effect:
    """Returns the effect that undoes it."""
    return Effect(**{name: -getattr(effect, name) for name in Effect.__struct_fields__})


def _adjustment_row(
    adjustment: Adjustment, first: ConversionRow, kind: str, place: FactDimensions, effect: Effect
) -> ConversionRow:
    dimensions: dict[str, Any] = {
        name: getattr(first, name) for name in (*CARRIED_COLUMNS, "coupon_code")
    }
    place_fields = msgspec.structs.asdict(place)
    if (place.campaign, place.affiliate) == (first.campaign, first.affiliate):
        # The state of a conversion that is older than adjustments lacks its link.
        place_fields["link"] = place.link or first.link
    return ConversionRow(
        account=adjustment.account,
        time=adjustment.time_ms / 1000,
        click_time=first.click_time,
        conversion_id=adjustment.conversion_id,
        kind=kind,
        event=adjustment.event,
        order_id=adjustment.order_id,
        currency=adjustment.currency,
        click_id=adjustment.click_id,
        adjustment_id=adjustment.adjustment_id,
        adjusted=adjustment.adjusted_ms / 1000,
        payout=adjustment.payout,
        rule=adjustment.rule,
        author=adjustment.author,
        note=adjustment.note,
        rate=adjustment.rate,
        unverified_now=not adjustment.verified,
        **dimensions,
        **place_fields,
        **msgspec.structs.asdict(effect),
    )
