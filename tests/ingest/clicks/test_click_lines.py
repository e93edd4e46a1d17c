"""A click's line decodes to its event, whatever the visitor sends."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ingest.visitor_fields import ProxyHeaders, VisitorReader
from linkjolt.clicks.addresses import parse_networks
from linkjolt.clicks.redirect import parse_query, resolve_click
from linkjolt.datasets import live_dataset
from linkjolt.events import RECORDED_PARAMETERS, Click
from tests.linkjolt.clicks.test_destination import CLICK_ID, ROUTE

PEER = "203.0.113.7"
VISITS = VisitorReader(
    parse_networks(PEER), ProxyHeaders(country="CF-IPCountry", region="CF-Region-Code")
)
TEXTS = st.text(st.characters(codec="latin-1"), max_size=20)
PAIRS = st.lists(
    st.tuples(st.sampled_from([*RECORDED_PARAMETERS, "x", 'y"', "ü"]), st.text(max_size=9)),
    max_size=5,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "user-agent": TEXTS,
        "referer": TEXTS,
        "cf-ipcountry": st.from_regex(r"[A-W][A-Z]", fullmatch=True),
        "cf-region-code": st.from_regex(r"[A-Z][A-Z0-9 .'()-]{0,30}[A-Z]", fullmatch=True),
        "accept-language": st.text("abc-", max_size=10),
        "x-purpose": st.sampled_from(["preview", "a"]),
    },
)


def line_of(method: str, headers: dict[str, str], pairs: list[tuple[str, str]]) -> str:
    visitor_json = VISITS.visitor_json((PEER, 1), method, headers)
    return resolve_click(ROUTE, pairs, visitor_json, CLICK_ID)[1]


def event_of(method: str, headers: dict[str, str], pairs: list[tuple[str, str]]) -> Click:
    parameters = dict(pairs)
    preview = headers.get("x-purpose") == "preview"
    return Click(
        click_id=CLICK_ID,
        account=live_dataset(ROUTE.link.account),
        link=ROUTE.link.number,
        campaign=ROUTE.link.campaign,
        affiliate=ROUTE.link.affiliate,
        ip=PEER,
        user_agent=headers.get("user-agent", ""),
        referrer=headers.get("referer", ""),
        language=headers.get("accept-language", ""),
        country=headers.get("cf-ipcountry", ""),
        region=headers.get("cf-region-code", ""),
        kind="prefetch" if preview else "head" if method == "HEAD" else "",
        params={
            name: value for name, value in parameters.items() if name not in RECORDED_PARAMETERS
        },
        **{name: value for name, value in parameters.items() if name in RECORDED_PARAMETERS},
    )


@given(st.sampled_from(["GET", "HEAD"]), HEADERS, PAIRS)
def test_a_line_decodes_to_the_event(
    method: str, headers: dict[str, str], pairs: list[tuple[str, str]]
) -> None:
    click = msgspec.json.decode(line_of(method, headers, pairs), type=Click)
    assert click == event_of(method, headers, pairs)


def test_no_line_holds_the_byte_that_ends_it() -> None:
    headers = {"user-agent": "a\nb", "referer": "\r\n", "accept-language": "\x85"}
    line = line_of("GET", headers, parse_query("sub1=a%0Ab&x=%0A&y%0A=1"))
    assert "\n" not in line


def test_a_value_that_looks_like_a_member_is_none() -> None:
    headers = {"user-agent": ',"ip":"1.1.1.1","kind":"prefetch"'}
    click = msgspec.json.decode(line_of("HEAD", headers, []), type=Click)
    assert (click.ip, click.kind, click.user_agent) == (PEER, "head", headers["user-agent"])
