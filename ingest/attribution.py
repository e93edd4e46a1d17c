"""Which affiliate a conversion belongs to, and by what: decided from ids alone, no click store."""

from enum import StrEnum
from typing import Literal

import msgspec

from linkjolt.clickid import ClickRef
from linkjolt.registry import Campaign, Route

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


class Attribution(msgspec.Struct, frozen=True):
    """`route` is None where nobody earns; `reason` says why the click id was not used.

    `campaign` is known also when a late click earns nothing. `click_genuine` tells whether the
    posted click id is one of ours, so that it may be stored as the conversion's click.
    """

    method: Literal["click", "tracking_code", "none"]
    reason: Late
    route: Route | None
    campaign: Campaign | None
    click_genuine: bool = False


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
    click_given: bool,
    late: Late,
    click_route: Route | None,
    code_route: Route | None,
) -> Attribution:
    """A click inside its window beats a code; a code beats nothing; the reason is kept."""
    genuine = click_given and late not in (Late.click_forged, Late.click_of_unknown_link)
    if click_given and late is Late.none and click_route is not None:
        return Attribution("click", late, click_route, click_route.campaign, True)
    if code_route is not None:
        return Attribution("tracking_code", late, code_route, code_route.campaign, genuine)
    campaign = click_route.campaign if genuine and click_route is not None else None
    return Attribution("none", late, None, campaign, genuine)
