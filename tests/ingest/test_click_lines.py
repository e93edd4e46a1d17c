"""The line of a click is what msgspec makes of the event, whatever the visitor sends."""

from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ingest.redirect import Visit, read_query, resolve_click
from linkjolt.events import RECORDED, Click
from tests.ingest.test_destination import CLICK_ID, ROUTE

ODD = st.text(st.characters(codec="latin-1"), max_size=20)
PLAIN = st.text(st.sampled_from("abc XYZ/:.;()*-_=?&%+#0123456789"), max_size=20)
PAIRS = st.lists(
    st.tuples(st.sampled_from([*RECORDED, "x", 'y"', "ü"]), PLAIN | st.text(max_size=9)), max_size=5
)
KINDS = get_args(Visit.__annotations__["kind"])


def line_of(visit: Visit, pairs: list[tuple[str, str]]) -> str:
    return resolve_click(ROUTE, visit, pairs, CLICK_ID)[1]


def event_of(visit: Visit, pairs: list[tuple[str, str]]) -> Click:
    said = dict(pairs)
    return Click(
        click_id=CLICK_ID,
        account=ROUTE.link.account,
        link=ROUTE.link.number,
        campaign=ROUTE.link.campaign,
        affiliate=ROUTE.link.affiliate,
        ip=visit.ip,
        user_agent=visit.user_agent,
        referrer=visit.referrer,
        language=visit.language,
        country=visit.country,
        kind=visit.kind,
        params={name: value for name, value in said.items() if name not in RECORDED},
        **{name: value for name, value in said.items() if name in RECORDED},
    )


@st.composite
def visits(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> Visit:
    ip, user_agent, referrer, language, country = (draw(texts) for _ in range(5))
    return Visit("", ip, user_agent, referrer, language, country, draw(st.sampled_from(KINDS)))


@given(visits(ODD), PAIRS)
def test_a_line_decodes_to_the_event(visit: Visit, pairs: list[tuple[str, str]]) -> None:
    assert msgspec.json.decode(line_of(visit, pairs), type=Click) == event_of(visit, pairs)


@given(visits(PLAIN), PAIRS)
def test_of_a_visit_that_needs_no_escape_the_line_is_the_same(
    visit: Visit, pairs: list[tuple[str, str]]
) -> None:
    plain = msgspec.structs.replace(visit, plain=True)
    assert line_of(plain, pairs) == line_of(visit, pairs)


def test_no_line_holds_the_byte_that_ends_it() -> None:
    visit = Visit("", "::1", "a\nb", "\r\n", "\x85", "\n")
    assert "\n" not in line_of(visit, read_query("sub1=a%0Ab&x=%0A&y%0A=1"))
