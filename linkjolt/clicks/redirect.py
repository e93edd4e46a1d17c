"""Resolves a request for a tracking link to its redirect URL and its recorded line."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from urllib.parse import parse_qsl

import msgspec

from linkjolt.click_ids import decode_base32, unpack_click_number
from linkjolt.clicks.destination import (
    CLICK_ID_MACROS,
    QueryPair,
    compile_destination,
    fill_destination,
)
from linkjolt.clicks.referrers import referrer_host
from linkjolt.clicks.route import Route
from linkjolt.clicks.user_agent import parse_user_agent
from linkjolt.events import RECORDED_PARAMETERS
from linkjolt.registry.entries import Link, public_id

VALUE_MAX_CHARACTERS = 512
PARAMS_MAX = 100
_RECORDED = frozenset(RECORDED_PARAMETERS)
_encode = msgspec.json.Encoder().encode
# Most values need no escaping between JSON's quotes.
_plain = re.compile(r"[ !#-\[\]-~]*+").fullmatch


class _VisitorFields(msgspec.Struct, frozen=True):
    """The fields of a visitor that destinations may name."""

    user_agent: str = ""
    referrer: str = ""
    language: str = ""
    country: str = ""


_decode_visitor = msgspec.json.Decoder(_VisitorFields).decode


def json_member(name: str, value: str) -> str:
    """Writes one text field of the click, or nothing if it is empty."""
    if not value:
        return ""
    return f',"{name}":"{value if _plain(value) else _encode(value)[1:-1].decode()}"'


def parse_query(query: str) -> list[QueryPair]:
    """Parses a query into decoded parameters, at most 100; replaces undecodable bytes."""
    if not query:
        return []
    if "%" in query or "+" in query:
        pairs = parse_qsl(query, keep_blank_values=True, errors="replace")
    else:
        # Nothing to decode: the same result at a third of the cost.
        pairs = [_pair(text) for text in query.split("&") if text]
    return [(name, value[:VALUE_MAX_CHARACTERS]) for name, value in pairs[:PARAMS_MAX] if name]


def _pair(text: str) -> QueryPair:
    name, _, value = text.partition("=")
    return name, value


def resolve_click(
    route: Route, pairs: Sequence[QueryPair], visitor_json: str, click_id: str
) -> tuple[str, str]:
    """Returns the URL of a click and its line in a frame (`events.Click` in JSON); pure.

    `visitor_json` are the visitor's fields (`ingest.visitor_fields`).
    """
    if not pairs and route.around_click_id:
        begin, end = route.around_click_id
        line = f'{{"click_id":"{click_id}",{route.fields_json}{visitor_json}}}'
        return f"{begin}{click_id}{end}", line
    destination = compile_destination(route.link.destination, route.campaign.click_id_param)
    recorded: dict[str, str] = {}
    params: dict[str, str] = {}
    for name, value in pairs:
        (recorded if name in _RECORDED else params)[name] = value
    value_of = partial(_macro_value, route, visitor_json, recorded, click_id)
    location = fill_destination(destination, passed_params(route.link, pairs), value_of)
    line = f'{{"click_id":"{click_id}",{route.fields_json}{visitor_json}'
    line += "".join([json_member(name, value) for name, value in recorded.items()])
    if params:
        line += f',"params":{_encode(params).decode()}'
    return location, line + "}"


def passed_params(link: Link, pairs: Sequence[QueryPair]) -> list[QueryPair]:
    """Selects the parameters that the link passes on to the destination."""
    if link.pass_params == "none":
        return []
    names = None if link.pass_params == "all" else link.pass_params
    return [p for p in pairs if p[0] != "notrack" and (names is None or p[0] in names)]


# Computed only if the destination names them.
_ROUTE_MACROS: dict[str, Callable[[Route, _VisitorFields], str]] = {
    "tracking_code": lambda route, visitor: route.link.tracking_code,
    "affiliate_id": lambda route, visitor: public_id("affiliate", route.link.affiliate),
    "campaign_id": lambda route, visitor: public_id("campaign", route.link.campaign),
    "link_id": lambda route, visitor: public_id("link", route.link.number),
    "language": lambda route, visitor: visitor.language,
    "country": lambda route, visitor: visitor.country,
    "device": lambda route, visitor: parse_user_agent(visitor.user_agent).device,
    "os": lambda route, visitor: parse_user_agent(visitor.user_agent).os,
    "browser": lambda route, visitor: parse_user_agent(visitor.user_agent).browser,
    "referrer_host": lambda route, visitor: referrer_host(visitor.referrer),
}


def _macro_value(
    route: Route, visitor_json: str, recorded: Mapping[str, str], click_id: str, name: str
) -> str:
    if name in CLICK_ID_MACROS:
        return click_id
    if name == "timestamp":
        return str(_time_ms(click_id) // 1000)
    if name in _ROUTE_MACROS:
        return _ROUTE_MACROS[name](route, _decode_visitor(f"{{{visitor_json[1:]}}}"))
    return recorded.get(name, "")


def _time_ms(click_id: str) -> int:
    number = decode_base32(click_id)
    return unpack_click_number(number).time_ms if number is not None else 0
