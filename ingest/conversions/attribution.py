"""Which affiliate a conversion belongs to, and by what: decided from ids alone, no click store."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from linkjolt.click_ids import ClickRef
from linkjolt.clicks.route import CouponRoute, Route
from linkjolt.events import Attributed
from linkjolt.registry.entries import Affiliate, Campaign, Link

# Clocks of shops differ from ours: a conversion may seem this much older than its click.
_SKEW_MS = 5 * 60_000
_DAY_MS = 86_400_000


class Late(StrEnum):
    """Why a posted click id earned nothing by itself."""

    none = ""
    click_forged = "click_forged"
    click_of_unknown_link = "click_of_unknown_link"
    click_too_old = "click_too_old"
    click_too_recent = "click_too_recent"
    click_after_conversion = "click_after_conversion"


_FOREIGN = (Late.click_forged, Late.click_of_unknown_link)


class GivenClick(msgspec.Struct, frozen=True):
    """A posted click id with what its MAC and the directory say: None where it is not genuine."""

    click_id: str
    click: ClickRef | None = None
    route: Route | None = None


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """Who earns a conversion; `affiliate` is None where nobody does.

    `campaign` is known also when a late click earns nothing. `reason` says why a posted click was
    not used, or which of several was. `click_id` is the genuine click that earned it or would have.
    """

    method: Attributed
    reason: str = ""
    campaign: Campaign | None = None
    affiliate: Affiliate | None = None
    link: Link | None = None
    click_id: str = ""


def judge_click(click: ClickRef | None, route: Route | None, account: int, time_ms: int) -> Late:
    """Whether a click (None: forged) of `route` may earn a conversion at `time_ms`."""
    if click is None:
        return Late.click_forged
    if route is None or route.link.account != account:
        return Late.click_of_unknown_link
    elapsed_ms = time_ms - click.time_ms
    if elapsed_ms < -_SKEW_MS:
        return Late.click_after_conversion
    if elapsed_ms < route.campaign.window_min_seconds * 1000:
        # Within the skew a window without minimum is open.
        return Late.click_too_recent if route.campaign.window_min_seconds else Late.none
    if elapsed_ms > route.campaign.window_days * _DAY_MS:
        return Late.click_too_old
    return Late.none


def attribute(
    clicks: Sequence[GivenClick],
    code: Route | None,
    coupon: CouponRoute | None,
    account: int,
    time_ms: int,
) -> Attribution:
    """A click inside its window beats a code, a code a coupon, a coupon nothing.

    `account` is that of the registry. Of several clicks the last earns, or the first of the last
    one's campaign where that says so.
    """
    if not clicks and code is not None:
        return _by_code(code)
    judged = [(judge_click(one.click, one.route, account, time_ms), one) for one in clicks]
    if earning := [one for late, one in judged if late is Late.none]:
        return _by_click(earning)
    late, late_click = _latest(judged)
    route = late_click.route if late_click and late not in _FOREIGN else None
    click_id = late_click.click_id if late_click and route else ""
    if code is not None:
        return _by_code(code, late, click_id)
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


def _by_code(code: Route, late: Late = Late.none, click_id: str = "") -> Attribution:
    return Attribution(
        method="tracking_code",
        reason=late.value,
        campaign=code.campaign,
        affiliate=code.affiliate,
        link=code.link,
        click_id=click_id,
    )


def _by_click(earning: Sequence[GivenClick]) -> Attribution:
    chosen, reason = earning[0], ""
    if len(earning) > 1:
        chosen, reason = max(earning, key=_time_ms), "last_click"
        route = chosen.route
        if route and route.campaign.attribution == "first":
            number = route.campaign.number
            same = [one for one in earning if one.route and one.route.campaign.number == number]
            chosen, reason = min(same, key=_time_ms), "first_click"
    route = chosen.route
    return Attribution(
        method="click",
        reason=reason,
        campaign=route.campaign if route else None,
        affiliate=route.affiliate if route else None,
        link=route.link if route else None,
        click_id=chosen.click_id,
    )


def _time_ms(one: GivenClick) -> int:
    return one.click.time_ms if one.click else 0


def _latest(judged: Sequence[tuple[Late, GivenClick]]) -> tuple[Late, GivenClick | None]:
    """The last of the genuine clicks, else the first posted one, with what was wrong with it."""
    if not judged:
        return Late.none, None
    genuine = [pair for pair in judged if pair[0] not in _FOREIGN]
    return max(genuine, key=lambda pair: _time_ms(pair[1])) if genuine else judged[0]
