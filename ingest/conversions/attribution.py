"""Decides which affiliate earns a conversion, from ids alone, without a store of clicks."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from linkjolt.click_ids import ClickRef
from linkjolt.clicks.route import CouponRoute, Route
from linkjolt.datasets import Account
from linkjolt.events import AttributionMethod
from linkjolt.registry.commission_rules import deletion_reason
from linkjolt.registry.entries import Affiliate, Campaign, Link

# A shop's clock may differ: a conversion may appear this much older than its click.
_SKEW_MS = 5 * 60_000
_DAY_MS = 86_400_000
# Why a click or a code earned though the post names another affiliate's coupon, too.
COUPON_OF_ANOTHER = "coupon_of_another"


class ClickRefusal(StrEnum):
    """Why a posted click earned nothing by itself."""

    none = ""
    click_forged = "click_forged"
    click_of_unknown_link = "click_of_unknown_link"
    click_too_old = "click_too_old"
    click_too_recent = "click_too_recent"
    click_after_conversion = "click_after_conversion"
    affiliate_deleted = "affiliate_deleted"
    campaign_deleted = "campaign_deleted"


_NOT_OURS = (ClickRefusal.click_forged, ClickRefusal.click_of_unknown_link)


class PostedClick(msgspec.Struct, frozen=True):
    """A posted click id, its verified contents and its route; None where it is not genuine."""

    click_id: str
    click: ClickRef | None = None
    route: Route | None = None


class Earner(msgspec.Struct, frozen=True, kw_only=True):
    """The affiliate of an earlier conversion of the order or the customer; None if it had none.

    `outranks`: earns before any click, code and coupon; otherwise after them. `click_id` is the
    click of that conversion.
    """

    method: AttributionMethod
    campaign: Campaign | None = None
    affiliate: Affiliate | None = None
    link: Link | None = None
    click_id: str = ""
    outranks: bool = False


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """The affiliate who earns a conversion; None where nobody does.

    `campaign` is known also where a late click earns nothing. `reason` explains why a posted click
    was not used, or which of several was. `click_id` is the genuine click that earned it or would
    have.
    """

    method: AttributionMethod
    reason: str = ""
    campaign: Campaign | None = None
    affiliate: Affiliate | None = None
    link: Link | None = None
    click_id: str = ""


def judge_click(
    click: ClickRef | None, route: Route | None, account: Account, time_ms: int
) -> ClickRefusal:
    """Decides whether a click (None: forged) of `route` may earn a conversion at `time_ms`."""
    if click is None:
        return ClickRefusal.click_forged
    if route is None or route.link.account != account:
        return ClickRefusal.click_of_unknown_link
    if deleted := deletion_reason(route.campaign, route.affiliate, click.time_ms):
        return ClickRefusal(deleted)
    return _judge_age(time_ms - click.time_ms, route.campaign)


def _judge_age(elapsed_ms: int, campaign: Campaign) -> ClickRefusal:
    if elapsed_ms < -_SKEW_MS:
        return ClickRefusal.click_after_conversion
    if elapsed_ms < campaign.window_min_seconds * 1000:
        # Within the skew a window without minimum is open.
        return ClickRefusal.click_too_recent if campaign.window_min_seconds else ClickRefusal.none
    if elapsed_ms > campaign.window_days * _DAY_MS:
        return ClickRefusal.click_too_old
    return ClickRefusal.none


def attribute(
    clicks: Sequence[PostedClick],
    code: Route | None,
    coupon: CouponRoute | None,
    account: Account,
    time_ms: int,
    earner: Earner | None = None,
) -> Attribution:
    """Attributes a conversion: a click inside its window, else a code, else a coupon, else nobody.

    `account` is the registry's. Of several clicks the last earns, or the first of the last one's
    campaign where that campaign attributes to the first. `earner` comes before all of them, or
    after all.
    """
    if code is not None and not clicks and coupon is None and earner is None:
        # Most are like this.
        return _by_code(code)
    if earner is not None and earner.outranks:
        return _by_earner(earner)
    attribution = _attribute_as_posted(clicks, code, coupon, account, time_ms)
    if attribution.affiliate is None:
        return _by_earner(earner, attribution) if earner is not None else attribution
    if coupon is None or coupon.affiliate.number == attribution.affiliate.number:
        return attribution
    return msgspec.structs.replace(attribution, reason=COUPON_OF_ANOTHER)


def _attribute_as_posted(
    clicks: Sequence[PostedClick],
    code: Route | None,
    coupon: CouponRoute | None,
    account: Account,
    time_ms: int,
) -> Attribution:
    if not clicks and code is not None:
        return _by_code(code)
    judged = [(judge_click(c.click, c.route, account, time_ms), c) for c in clicks]
    if earning := [click for refusal, click in judged if refusal is ClickRefusal.none]:
        return _by_click(earning)
    late, refused_click = _latest(judged)
    route = refused_click.route if refused_click and late not in _NOT_OURS else None
    click_id = refused_click.click_id if refused_click and route else ""
    if code is not None:
        return _by_code(code, late.value, click_id)
    if coupon is not None:
        return Attribution(
            method="coupon",
            reason=late,
            campaign=coupon.campaign,
            affiliate=coupon.affiliate,
            click_id=click_id,
        )
    campaign = route.campaign if route else None
    return Attribution(method="none", reason=late, campaign=campaign, click_id=click_id)


def _by_earner(earner: Earner, unattributed: Attribution | None = None) -> Attribution:
    return Attribution(
        method=earner.method,
        reason=unattributed.reason if unattributed else "",
        campaign=earner.campaign,
        affiliate=earner.affiliate,
        link=earner.link,
        click_id=unattributed.click_id if unattributed else earner.click_id,
    )


def _by_code(code: Route, reason: str = "", click_id: str = "") -> Attribution:
    return Attribution(
        method="tracking_code",
        reason=reason,
        campaign=code.campaign,
        affiliate=code.affiliate,
        link=code.link,
        click_id=click_id,
    )


def _by_click(earning: Sequence[PostedClick]) -> Attribution:
    chosen, reason = earning[0], ""
    if len(earning) > 1:
        chosen, reason = max(earning, key=_time_ms), "last_click"
        route = chosen.route
        if route and route.campaign.attribution == "first":
            number = route.campaign.number
            same_campaign = [c for c in earning if c.route and c.route.campaign.number == number]
            chosen, reason = min(same_campaign, key=_time_ms), "first_click"
    route = chosen.route
    return Attribution(
        method="click",
        reason=reason,
        campaign=route.campaign if route else None,
        affiliate=route.affiliate if route else None,
        link=route.link if route else None,
        click_id=chosen.click_id,
    )


def _time_ms(click: PostedClick) -> int:
    return click.click.time_ms if click.click else 0


def _latest(
    judged: Sequence[tuple[ClickRefusal, PostedClick]],
) -> tuple[ClickRefusal, PostedClick | None]:
    """Returns the last genuine click, else the first posted one, with its refusal."""
    if not judged:
        return ClickRefusal.none, None
    genuine = [pair for pair in judged if pair[0] not in _NOT_OURS]
    return max(genuine, key=lambda pair: _time_ms(pair[1])) if genuine else judged[0]
