"""What a request for a tracking link comes to: where it leads and what is recorded."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from urllib.parse import parse_qsl

import msgspec

from linkjolt.click_ids import decode_base32, unverified
from linkjolt.clicks.destination import CLICK_ID_MACROS, Pair, compile_destination, location
from linkjolt.clicks.referrers import referrer_host
from linkjolt.clicks.route import Route
from linkjolt.clicks.user_agent import read_agent
from linkjolt.events import RECORDED
from linkjolt.registry.entries import Link, public_id

VALUE_MAX_CHARACTERS = 512
PARAMS_MAX = 100
_RECORDED = frozenset(RECORDED)
_encode = msgspec.json.Encoder().encode
# What JSON takes between quotes as it is, which most values are.
_plain = re.compile(r"[ !#-\[\]-~]*+").fullmatch


class _Visitor(msgspec.Struct, frozen=True):
    """What destinations may name of a visit."""

    user_agent: str = ""
    referrer: str = ""
    language: str = ""
    country: str = ""


_visitor = msgspec.json.Decoder(_Visitor).decode


def member(name: str, value: str) -> str:
    """A text of the click, or nothing where it is empty."""
    if not value:
        return ""
    return f',"{name}":"{value if _plain(value) else _encode(value)[1:-1].decode()}"'


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


def resolve_click(route: Route, pairs: Sequence[Pair], told: str, click_id: str) -> tuple[str, str]:
    """Where the click goes, and its line in a frame: `events.Click` in JSON; pure.

    `told` is what the visit tells of itself (`ingest.visitor_fields.Visits`).
    """
    if not pairs and route.around:
        begin, end = route.around
        line = f'{{"click_id":"{click_id}",{route.said}{told}}}'
        return f"{begin}{click_id}{end}", line
    destination = compile_destination(route.link.destination, route.campaign.click_id_param)
    recorded: dict[str, str] = {}
    params: dict[str, str] = {}
    for name, value in pairs:
        (recorded if name in _RECORDED else params)[name] = value
    value_of = partial(_macro_value, route, told, recorded, click_id)
    place = location(destination, passed_on(route.link, pairs), value_of)
    line = f'{{"click_id":"{click_id}",{route.said}{told}'
    line += "".join([member(name, value) for name, value in recorded.items()])
    if params:
        line += f',"params":{_encode(params).decode()}'
    return place, line + "}"


def passed_on(link: Link, pairs: Sequence[Pair]) -> list[Pair]:
    """The parameters that the link's setting hands to the destination."""
    if link.pass_params == "none":
        return []
    names = None if link.pass_params == "all" else link.pass_params
    return [p for p in pairs if p[0] != "notrack" and (names is None or p[0] in names)]


# Worked out only where the destination names them.
_MACROS: dict[str, Callable[[Route, _Visitor], str]] = {
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
    route: Route, told: str, recorded: Mapping[str, str], click_id: str, name: str
) -> str:
    if name in CLICK_ID_MACROS:
        return click_id
    if name == "timestamp":
        return str(_time_ms(click_id) // 1000)
    if name in _MACROS:
        return _MACROS[name](route, _visitor(f"{{{told[1:]}}}"))
    return recorded.get(name, "")


def _time_ms(click_id: str) -> int:
    number = decode_base32(click_id)
    return unverified(number).time_ms if number is not None else 0
