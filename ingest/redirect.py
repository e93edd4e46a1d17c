"""What a request for a tracking link comes to: where it leads and what is recorded."""

from collections.abc import Callable
from functools import partial
from typing import Literal
from urllib.parse import parse_qsl

import msgspec

from ingest.destination import CLICK_ID_MACROS, Pair, compile_destination, location
from linkjolt.clickid import decode_base32, unverified
from linkjolt.events import RECORDED, Click
from linkjolt.referrers import referrer_host
from linkjolt.registry import Link, Route, public_id
from linkjolt.useragent import read_agent

VALUE_MAX_CHARACTERS = 512
PARAMS_MAX = 100
_RECORDED = frozenset(RECORDED)
_OF_CLICK = _RECORDED | {"language", "country"}


class Visit(msgspec.Struct, frozen=True):
    """A request for a tracking link: its raw query, the visitor's address and headers."""

    query: str
    ip: str = ""
    user_agent: str = ""
    referrer: str = ""
    language: str = ""
    country: str = ""
    kind: Literal["", "head", "prefetch"] = ""


def closed_to(route: Route) -> bool:
    """True where a link takes no clicks: disabled, or deleted with its campaign or affiliate."""
    return (
        route.link.status == "disabled"
        or route.link.deleted_at is not None
        or route.campaign.deleted_at is not None
        or route.affiliate.deleted_at is not None
    )


def read_query(query: str) -> list[Pair]:
    """The decoded parameters, at most 100; undecodable bytes are replaced."""
    if not query:
        return []
    if "%" in query or "+" in query:
        pairs = parse_qsl(query, keep_blank_values=True, errors="replace")
    else:
        # Nothing to decode: the same, at a third of the cost.
        pairs = [_pair(text) for text in query.split("&") if text]
    return [(name, value[:VALUE_MAX_CHARACTERS]) for name, value in pairs[:PARAMS_MAX] if name]


def _pair(text: str) -> Pair:
    name, _, value = text.partition("=")
    return name, value


def resolve_click(
    route: Route, visit: Visit, pairs: list[Pair], click_id: str
) -> tuple[str, Click]:
    """Where the click goes, and its event; pure."""
    recorded: dict[str, str] = {}
    params: dict[str, str] = {}
    for name, value in pairs:
        (recorded if name in _RECORDED else params)[name] = value
    link = route.link
    click = Click(
        click_id=click_id,
        account=link.account,
        link=link.number,
        campaign=link.campaign,
        affiliate=link.affiliate,
        ip=visit.ip,
        user_agent=visit.user_agent,
        referrer=visit.referrer,
        language=visit.language,
        country=visit.country,
        kind=visit.kind,
        params=params,
        **recorded,
    )
    return place(route, click, pairs), click


def place(route: Route, click: Click, pairs: list[Pair]) -> str:
    """The destination of this click: macros filled, parameters passed on, click id appended."""
    destination = compile_destination(route.link.destination, route.campaign.click_id_param)
    if destination.around and not pairs:
        begin, end = destination.around
        return f"{begin}{click.click_id}{end}"
    passed = passed_on(route.link, pairs) if pairs else ()
    return location(destination, passed, partial(_macro_value, route, click))


def passed_on(link: Link, pairs: list[Pair]) -> list[Pair]:
    """The parameters that the link's setting hands to the destination."""
    if link.pass_params == "none":
        return []
    names = None if link.pass_params == "all" else link.pass_params
    return [p for p in pairs if p[0] != "notrack" and (names is None or p[0] in names)]


# Worked out only where the destination names them.
_MACROS: dict[str, Callable[[Route, Click], str]] = {
    "tracking_code": lambda route, click: route.link.tracking_code,
    "affiliate_id": lambda route, click: public_id("affiliate", click.affiliate),
    "campaign_id": lambda route, click: public_id("campaign", click.campaign),
    "link_id": lambda route, click: public_id("link", click.link),
    "device": lambda route, click: read_agent(click.user_agent).device,
    "os": lambda route, click: read_agent(click.user_agent).os,
    "browser": lambda route, click: read_agent(click.user_agent).browser,
    "timestamp": lambda route, click: str(_time_ms(click) // 1000),
    "referrer_host": lambda route, click: referrer_host(click.referrer),
}


def _macro_value(route: Route, click: Click, name: str) -> str:
    if name in CLICK_ID_MACROS:
        return click.click_id
    if name in _MACROS:
        return _MACROS[name](route, click)
    return getattr(click, name) if name in _OF_CLICK else ""


def _time_ms(click: Click) -> int:
    number = decode_base32(click.click_id)
    return unverified(number).time_ms if number is not None else 0
