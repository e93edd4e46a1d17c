"""Codes, aliases and queries in every spelling lead to the same answers."""

import pytest

from linkjolt.events import Click
from loadtests.edge_pair import LINKS
from tests.conformance.both import Both
from tests.conformance.cases import CLICK, FIREFOX, Case, answered, check, redirected, request

CLOSED = {"tc_OFF": 410, "tc_GONE": 410, "tc_MOVED": 302}
QUERIES = {
    "none": "",
    "empty": "?",
    "one parameter": "?sub1=spring",
    "every kind of value": "?sub1=a&gclid=b&utm_source=c&cost=1.5&own=d",
    "empty values": "?sub1=&sub2&=x&&&a=",
    "only separators": "?&&&=&=",
    "a repeated parameter": "?sub1=a&sub1=b&x=1&x=2&sub1=c",
    "101 parameters": "?" + "&".join(f"p{n}={n}" for n in range(101)),
    "101 parameters, encoded": "?" + "&".join(f"p{n}=%2{n % 10}" for n in range(101)),
    "a value over 512 characters": "?sub1=" + "v" * 600 + "&x=" + "w" * 600,
    "a value over 512 characters, encoded": "?sub1=" + "%C3%BC" * 600,
    "notrack that is not 1": "?notrack=0&sub1=a",
    "encoded": "?sub1=a%20b+c%2Bd&%73ub2=x",
    "encodings in lower and upper case": "?a=%c3%bc&b=%C3%BC",
    "encodings of nothing": "?a=%&b=%z&c=%2&d=%zz&e=%%41",
    "undecodable bytes": "?sub1=%ff%fe&a=%c3",
    "control characters, encoded": "?sub1=%00%0d%0aSet-Cookie:%20x%7f&a%0d%0a=1",
    "reserved characters": "?sub1=a?b/c:d@e;f,g!$'()*&a=[x]",
    "characters that URLs do not have": '?a="<>\\^`{|}',
    "macros as values": "?sub1={click_id}&sub2={_sub1}",
    "the click id's own parameter": "?click_id=forged&cid=forged&c=forged&clickid=x",
    "the destination's own parameters": "?a=2&ref=x&gr%C3%B6%C3%9Fe=y",
    "names of macros": "?country=XX&device=toaster&language=xx&timestamp=0&referrer_host=x",
    "names of fields": "?account=2&link=9&ip=1.1.1.1&kind=head&params=x&user_agent=y",
    "semicolons": "?sub1=a;sub2=b",
    "a long name": "?" + "n" * 700 + "=1",
    "a surrogate, encoded": "?sub1=%ed%a0%80",
    "four-byte characters, encoded": "?sub1=%f0%9f%98%80" + "%f0%9f%98%80" * 512,
}
NOTRACK = ["?notrack=1", "?sub1=a&notrack=1", "?notrack=%31", "?notrack=0&notrack=1"]
TARGETS = [
    redirected("the alias", request("/c/tc_PLAIN?sub1=a")),
    redirected("a percent-encoded code", request("/tc%5FPLAIN")),
    redirected("a percent-encoded alias", request("/%63/tc_PLAIN")),
    redirected("an encoded slash in the alias", request("/c%2Ftc_PLAIN")),
    redirected("an absolute form", request("http://edge/tc_PLAIN?sub1=a")),
    redirected("an absolute form of another host", request("http://other:81/tc_PLAIN")),
    redirected("a fragment in the target", request("/tc_PLAIN#part")),
    redirected("a fragment behind a query", request("/tc_PLAIN?sub1=a#part")),
    redirected("a URL of 7,900 bytes", request("/tc_PLAIN?x=" + "a" * 7_880)),
    redirected("a URL of 8,192 bytes", request("/tc_PLAIN?x=" + "a" * 8_180)),
    redirected("HEAD", request("/tc_PLAIN", method="HEAD")),
    redirected("HEAD of the alias", request("/c/tc_MACROS?sub1=a", FIREFOX, method="HEAD")),
    answered("a URL of 8,194 bytes", 414, request("/tc_PLAIN?x=" + "a" * 8_182)),
    answered("a code of 65 characters", 404, request("/" + "a" * 65)),
    answered("a code of 64 characters", 404, request("/" + "a" * 64)),
    answered("an unknown code", 404, request("/nothing-here?sub1=a")),
    answered("HEAD of an unknown code", 404, request("/nothing-here", method="HEAD")),
    answered("a code in another case", 404, request("/TC_plain")),
    answered("a line end behind a code", 404, request("/tc_PLAIN%0a")),
    answered("a zero behind a code", 404, request("/tc_PLAIN%00")),
    answered("undecodable bytes in a code", 404, request("/tc_PLAIN%ff")),
    answered("an empty code", 404, request("/")),
    answered("a slash behind a code", 404, request("/tc_PLAIN/")),
    answered("an alias twice", 404, request("/c/c/tc_PLAIN")),
    answered("a slash too many in front", 404, request("//tc_PLAIN")),
    answered("a dot segment", 404, request("/./tc_PLAIN")),
    answered("raw bytes outside ASCII in a code", 400, request("/tc_\xfc"), ended=True),
    answered("raw bytes outside ASCII in a query", 400, request("/tc_PLAIN?a=\xfc"), ended=True),
    answered("a space in a query", 400, request("/tc_PLAIN?a=b c"), ended=True),
    answered("a link's preview", 200, request("/tc_PLAIN+")),
    answered("a link's preview by alias", 200, request("/c/tc_MACROS+?sub1=a")),
    answered("a link's preview, encoded", 200, request("/tc_PLAIN%2B")),
    answered("HEAD of a preview", 200, request("/tc_PLAIN+", method="HEAD")),
    answered("the preview of a closed link", 200, request("/tc_OFF+")),
    answered("the preview of an unknown link", 404, request("/nothing+")),
    answered("two plus signs", 404, request("/tc_PLAIN++")),
    answered("an open path", 200, request("/healthz")),
    answered("an open path behind the alias", 404, request("/c/healthz")),
    answered("the registry without a key", 401, request("/v1/links")),
    answered("an asterisk", 404, request("*")),
    answered("a target without a slash", 400, request("tc_PLAIN"), ended=True),
]


@pytest.mark.parametrize("case", TARGETS, ids=lambda case: case.name)
async def test_a_target_is_taken_alike(both: Both, case: Case) -> None:
    await check(both, case)


async def ask_all(both: Both, query: str) -> tuple[str, list[Click]]:
    """Requests every link on one connection; returns all answers and clicks."""
    clicks: list[Click] = []
    text = ""
    async with both.open() as wires:
        for code in LINKS:
            answer = await both.ask_on(wires, request(f"/{code}{query}", FIREFOX))
            assert answer.statuses == (CLOSED.get(code, 302),)
            clicks += answer.clicks
            text += answer.text
    return text, clicks


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
async def test_a_query_leads_alike_on_every_kind_of_link(both: Both, query: str) -> None:
    _, clicks = await ask_all(both, query)
    assert len(clicks) == len(LINKS) - len(CLOSED)


@pytest.mark.parametrize("query", NOTRACK)
async def test_notrack_redirects_alike_and_stores_nothing(both: Both, query: str) -> None:
    answers, clicks = await ask_all(both, query)
    assert "notrack" not in answers
    assert clicks == []


async def test_parameters_are_cut_at_100_and_values_at_512_characters(both: Both) -> None:
    answer = await both.ask(request("/tc_PLAIN" + QUERIES["101 parameters"]))
    assert "&p99=99&" in answer.text
    assert "p100" not in answer.text
    [click] = (await both.ask(request("/tc_PLAIN?sub1=" + "v" * 600))).clicks
    assert click.sub1 == "v" * 512


async def test_a_plain_click_is_a_302_that_is_not_kept_by_anyone(both: Both) -> None:
    answer = await both.ask(CLICK)
    assert answer.text == (
        "HTTP/1.1 302 Found\r\ndate: D\r\ncache-control: no-store\r\nx-robots-tag: noindex\r\n"
        "location: https://shop.example/p?click_id=C\r\ncontent-length: 0\r\n"
        "x-request-id: I\r\n\r\n"
    )
