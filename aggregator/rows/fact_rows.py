"""The rows of facts about conversions: the first one, and those of its adjustments; pure."""

from typing import Any

import msgspec

from aggregator.rows.enrich import click_time_ms
from aggregator.rows.rows import CONVERSION_COLUMNS, ClickRow, ConversionRow
from linkjolt.dimensions import SPARSE
from linkjolt.events import Adjustment, Conversion, Effect, Place

# The dimensions of a click that its conversions carry, under the same names.
CARRIED = (
    "verdict",
    "country",
    "language",
    "device",
    "os",
    "browser",
    "referrer_host",
    *(name for name in SPARSE if name != "coupon_code"),
)
# What a conversion and its row have under one name and with one meaning.
_SAME = tuple(
    name
    for name in Conversion.__struct_fields__
    if name in CONVERSION_COLUMNS and name not in ("reason", "coupon_code")
)


def conversion_row(
    conversion: Conversion, click: ClickRow | None, *, s: int, pos: int, click_late: bool
) -> ConversionRow:
    """The first row of a conversion, with the dimensions of its click where that is known.

    `click_late` says that the click did not arrive in time: the reason, where there is no other.
    """
    same: dict[str, Any] = {name: getattr(conversion, name) for name in _SAME}
    carried: dict[str, Any] = {name: getattr(click, name) for name in CARRIED} if click else {}
    pending = conversion.status == "pending"
    return ConversionRow(
        time=conversion.time_ms / 1000,
        click_time=click_time_ms(conversion.click_id) / 1000 if conversion.click_id else 0.0,
        kind="created",
        reason=conversion.reason or ("click_late" if click_late else ""),
        conversions=1,
        pending=int(pending),
        approved=int(not pending),
        coupon_code=conversion.coupon_code or (click.coupon_code if click else ""),
        payout="unpaid",
        s=s,
        pos=pos,
        **same,
        **carried,
    )


def adjustment_rows(
    fact: Adjustment, first: ConversionRow, *, s: int, pos: int
) -> list[ConversionRow]:
    """The row of an adjustment; before it, where the conversion moves, one that takes it away.

    `first` is the conversion's first row, whose dimensions all its rows have.
    """
    rows = [_adjusted(fact, first, fact.kind, fact.place, fact.effect)]
    if fact.left is not None and fact.taken is not None:
        rows.insert(0, _adjusted(fact, first, "detached", fact.left, negative(fact.taken)))
    for row in rows:
        row.s, row.pos = s, pos
    return rows


def negative(effect: Effect) -> Effect:
    """What undoes it."""
    return Effect(**{name: -getattr(effect, name) for name in Effect.__struct_fields__})


def _adjusted(
    fact: Adjustment, first: ConversionRow, kind: str, place: Place, effect: Effect
) -> ConversionRow:
    kept: dict[str, Any] = {name: getattr(first, name) for name in (*CARRIED, "coupon_code")}
    where = msgspec.structs.asdict(place)
    if (place.campaign, place.affiliate) == (first.campaign, first.affiliate):
        # The state of a conversion from before there were adjustments does not know its link.
        where["link"] = place.link or first.link
    return ConversionRow(
        account=fact.account,
        time=fact.time_ms / 1000,
        click_time=first.click_time,
        conversion_id=fact.conversion_id,
        kind=kind,
        event=fact.event,
        order_id=fact.order_id,
        currency=fact.currency,
        click_id=fact.click_id,
        adjustment_id=fact.adjustment_id,
        adjusted=fact.adjusted_ms / 1000,
        payout=fact.payout,
        rule=fact.rule,
        author=fact.author,
        note=fact.note,
        **kept,
        **where,
        **msgspec.structs.asdict(effect),
    )
