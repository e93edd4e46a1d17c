"""What a request for a tracking link comes to: where it leads and what is recorded."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal
from urllib.parse import parse_qsl

import msgspec

from ingest.destination import CLICK_ID_MACROS, Pair, compile_destination, location
from linkjolt.clickid import decode_base32, unverified
from linkjolt.events import RECORDED
from linkjolt.referrers import referrer_host
from linkjolt.registry import Link, Route, public_id
from linkjolt.useragent import read_agent

VALUE_MAX_CHARACTERS = 512
PARAMS_MAX = 100
_RECORDED = frozenset(RECORDED)
_encode = msgspec.json.Encoder().encode
# What JSON takes between quotes as it is, which most values are.
_plain = re.compile(r"[ !#-\[\]-~]*+").fullmatch
_NOTHING: Mapping[str, str] = {}


class Visit(msgspec.Struct, frozen=True):
    """A request for a tracking link: its raw query, the visitor's address and headers.

    `plain`: none of them needs an escape in JSON, as far as is known.
    """

    query: str
    ip: str = ""
    user_agent: str = ""
    referrer: str = ""
    language: str = ""
    country: str = ""
    kind: Literal["", "head", "prefetch"] = ""
    plain: bool = False


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


def resolve_click(route: Route, visit: Visit, pairs: list[Pair], click_id: str) -> tuple[str, str]:
    """Where the click goes, and its line in a frame: `events.Click` in JSON; pure."""
    destination = compile_destination(route.link.destination, route.campaign.click_id_param)
    if not pairs and destination.around:
        begin, end = destination.around
        return f"{begin}{click_id}{end}", _line(route, visit, click_id)
    recorded: dict[str, str] = {}
    params: dict[str, str] = {}
    for name, value in pairs:
        (recorded if name in _RECORDED else params)[name] = value
    value_of = partial(_macro_value, route, visit, recorded, click_id)
    place = location(destination, passed_on(route.link, pairs), value_of)
    return place, _line(route, visit, click_id, recorded, params)


def _line(
    route: Route,
    visit: Visit,
    click_id: str,
    recorded: Mapping[str, str] = _NOTHING,
    params: Mapping[str, str] = _NOTHING,
) -> str:
    """Put together from text: to make the struct and encode it takes three times as long."""
    if not visit.plain:
        visit = _escaped(visit)
    line = f'{{"click_id":"{click_id}",{route.said}'
    if ip := visit.ip:
        line += f',"ip":"{ip}"'
    if user_agent := visit.user_agent:
        line += f',"user_agent":"{user_agent}"'
    if referrer := visit.referrer:
        line += f',"referrer":"{referrer}"'
    if language := visit.language:
        line += f',"language":"{language}"'
    if country := visit.country:
        line += f',"country":"{country}"'
    if kind := visit.kind:
        line += f',"kind":"{kind}"'
    for name, value in recorded.items():
        if value:
            line += f',"{name}":"{_escape(value)}"'
    return f'{line},"params":{_encode(params).decode()}}}' if params else f"{line}}}"


def _escape(text: str) -> str:
    """What stands between the quotes of its JSON string."""
    return text if _plain(text) else _encode(text)[1:-1].decode()


def _escaped(visit: Visit) -> Visit:
    texts = ("ip", "user_agent", "referrer", "language", "country")
    return msgspec.structs.replace(visit, **{n: _escape(getattr(visit, n)) for n in texts})


def passed_on(link: Link, pairs: list[Pair]) -> list[Pair]:
    """The parameters that the link's setting hands to the destination."""
    if link.pass_params == "none":
        return []
    names = None if link.pass_params == "all" else link.pass_params
    return [p for p in pairs if p[0] != "notrack" and (names is None or p[0] in names)]


# Worked out only where the destination names them.
_MACROS: dict[str, Callable[[Route, Visit], str]] = {
    "tracking_code": lambda route, visit: route.link.tracking_code,
    "affiliate_id": lambda route, visit: public_id("affiliate", route.link.affiliate),
    "campaign_id": lambda route, visit: public_id("campaign", route.link.campaign),
    "link_id": lambda route, visit: public_id("link", route.link.number),
    "language": lambda route, visit: visit.language,
    "country": lambda route, visit: visit.country,
    "device": lambda route, visit: read_agent(visit.user_agent).device,
    "os": lambda route, visit: read_agent(visit.user_agent).os,
    "browser": lambda route, visit: read_agent(visit.user_agent).browser,
    "referrer_host": lambda route, visit: referrer_host(visit.referrer),
}


def _macro_value(
    route: Route, visit: Visit, recorded: Mapping[str, str], click_id: str, name: str
) -> str:
    if name in CLICK_ID_MACROS:
        return click_id
    if name == "timestamp":
        return str(_time_ms(click_id) // 1000)
    return _MACROS[name](route, visit) if name in _MACROS else recorded.get(name, "")


def _time_ms(click_id: str) -> int:
    number = decode_base32(click_id)
    return unverified(number).time_ms if number is not None else 0
