"""Declares the rows of the two raw tables: the fields are the columns, in the tables' order."""

import msgspec

from linkjolt.datasets import Dataset

# `pos` is a stream entry's id: milliseconds in the upper 44 bits, sequence in the lower 20.
_SEQUENCE_BITS = 20


class ClickRow(msgspec.Struct, omit_defaults=True):
    """A recorded request; `time` is UTC seconds with milliseconds, `params` JSON or ''.

    Each default is the one that the engine stores for a column left out, so that lines are short.
    """

    account: Dataset = Dataset(0)
    link: int = 0
    time: float = 0.0
    click_id: str = ""
    campaign: int = 0
    affiliate: int = 0
    verdict: str = ""
    reason: str = ""
    ruleset: int = 0
    visitor: int = 0
    ip: str = ""
    country: str = ""
    language: str = ""
    device: str = ""
    os: str = ""
    browser: str = ""
    user_agent: str = ""
    referrer: str = ""
    referrer_host: str = ""
    sub1: str = ""
    sub2: str = ""
    sub3: str = ""
    sub4: str = ""
    sub5: str = ""
    sub6: str = ""
    sub7: str = ""
    sub8: str = ""
    sub9: str = ""
    sub10: str = ""
    source_id: str = ""
    external_id: str = ""
    creative_id: str = ""
    coupon_code: str = ""
    cost: str = ""
    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    utm_term: str = ""
    utm_content: str = ""
    gclid: str = ""
    fbclid: str = ""
    ttclid: str = ""
    msclkid: str = ""
    params: str = ""
    s: int = 0
    pos: int = 0
    region: str = ""


class ConversionRow(msgspec.Struct, omit_defaults=True):
    """A fact about a conversion: amounts in minor units, counts as signed effects.

    Times are UTC seconds with milliseconds; `click_time` is 0.0 if no click is known. The fields
    from `adjustment_id` on are those of adjustments; some of them the first fact has, too. An
    adjustment's line is in `fact`.
    """

    account: Dataset = Dataset(0)
    campaign: int = 0
    affiliate: int = 0
    link: int = 0
    time: float = 0.0
    click_time: float = 0.0
    conversion_id: str = ""
    kind: str = ""
    event: str = ""
    order_id: str = ""
    status: str = ""
    attribution: str = ""
    reason: str = ""
    currency: str = ""
    order_value_minor: int = 0
    commission_minor: int = 0
    conversions: int = 0
    pending: int = 0
    approved: int = 0
    rejected: int = 0
    click_id: str = ""
    given_click_id: str = ""
    customer: str = ""
    customer_id: str = ""
    items: str = ""
    metadata: str = ""
    adv1: str = ""
    adv2: str = ""
    adv3: str = ""
    adv4: str = ""
    adv5: str = ""
    verdict: str = ""
    country: str = ""
    language: str = ""
    device: str = ""
    os: str = ""
    browser: str = ""
    referrer_host: str = ""
    sub1: str = ""
    sub2: str = ""
    sub3: str = ""
    sub4: str = ""
    sub5: str = ""
    sub6: str = ""
    sub7: str = ""
    sub8: str = ""
    sub9: str = ""
    sub10: str = ""
    source_id: str = ""
    creative_id: str = ""
    coupon_code: str = ""
    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    utm_term: str = ""
    utm_content: str = ""
    s: int = 0
    pos: int = 0
    adjustment_id: str = ""
    adjusted: float = 0.0
    payout: str = ""
    rule: int = 0
    commission_reason: str = ""
    order_free: bool = False
    author: str = ""
    note: str = ""
    region: str = ""
    gross_change_minor: int = 0
    unverified: int = 0
    clawback_minor: int = 0
    unverified_now: bool = False
    hand: str = ""
    order_scope: str = ""
    notes: str = ""
    rate: str = ""
    fact: str = ""


CLICK_COLUMNS = ClickRow.__struct_fields__
CONVERSION_COLUMNS = ConversionRow.__struct_fields__


def click_marker(stream_number: int, pos: int) -> ClickRow:
    """Returns the row of account 0 that stores a batch's last position, even without events."""
    return ClickRow(time=_position_seconds(pos), s=stream_number, pos=pos)


def conversion_marker(stream_number: int, pos: int) -> ConversionRow:
    """Returns the marker row of a batch of conversions, as `click_marker`."""
    return ConversionRow(time=_position_seconds(pos), s=stream_number, pos=pos)


def _position_seconds(pos: int) -> float:
    # The engine would read a number of milliseconds as seconds.
    return (pos >> _SEQUENCE_BITS) / 1000
