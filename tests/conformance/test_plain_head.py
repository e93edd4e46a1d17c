"""The fast path accepts only heads that the HTTP parser accepts, and reads the same in them."""

import re

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.clicks.request_head import HEAD_MAX_BYTES, HeaderReader, read_head
from linkjolt.web.requests import is_host
from loadtests.fuzz_requests import RequestGenerator
from loadtests.wire import read_heads
from tests.conformance.parsed import Parsed

READ = (b"user-agent", b"referer", b"accept-language", b"x-forwarded-for", b"x-purpose")
COUNTRIES = (b"cf-ipcountry", b"x-country", b"")
# The other headers that decide how a request is handled.
DECIDING = (b"sec-purpose", b"purpose", b"x-moz", b"expect")


def reader(country: bytes) -> HeaderReader:
    """Returns a reader that yields each header behind its name."""
    names = [name.decode() for name in filter(None, (*READ, country))]
    return HeaderReader({name: f"\n{name}={{}}".format for name in names})


READERS = {country: reader(country) for country in COUNTRIES}


def check(data: bytes, country: bytes) -> bool:
    """Returns True for a plain head; AssertionError unless the parser agrees."""
    head = read_head(data) if len(data) <= HEAD_MAX_BYTES else None
    if head is None:
        return False
    code, query, lines = head
    # Twice: a cached line must give the same result.
    visitor_json, again = [READERS[country].visitor_json(lines, "") for _ in range(2)]
    assert visitor_json == again
    if visitor_json is None or not re.fullmatch("[A-Za-z0-9_-]{1,64}", code):
        return False
    parsed = Parsed(data)
    assert (parsed.begun, parsed.complete, parsed.body) == (1, 1, b"")
    assert parsed.parser.get_method() == b"GET"
    assert parsed.parser.get_http_version() == "1.1"
    assert parsed.parser.should_keep_alive()
    assert not parsed.parser.should_upgrade()
    url = httptools.parse_url(parsed.url)
    assert url.path in (f"/{code}".encode(), f"/c/{code}".encode())
    assert (url.query or b"") == query.encode()
    headers = parsed.first()
    assert [name for name, _ in parsed.headers].count(b"host") == 1
    assert is_host(headers[b"host"])
    assert not headers.keys() & set(DECIDING)
    expected = {n: headers[n] for n in filter(None, (*READ, country)) if n in headers}
    read_headers = dict(line.split("=", 1) for line in visitor_json.split("\n")[1:])
    assert {n.encode(): v.encode() for n, v in read_headers.items()} == expected
    return True


NAMES = [
    *(*READ, *DECIDING, *filter(None, COUNTRIES), b"host", b"te", b"keep-alive", b"sec-fetch-x"),
    *(b"connection", b"proxy-connection", b"upgrade", b"content-length", b"transfer-encoding"),
]
VALUES = [b"keep-alive", b"close", b"Keep-Alive", b"0", b"chunked", b"a", b"DE", b"prefetch"]
TARGETS = [b"/tc_PLAIN", b"/c/tc_PLAIN", b"/c", b"/c/c", b"/" + b"a" * 64, b"/" + b"a" * 65, b"//a"]
names = st.sampled_from(NAMES + [name.title() for name in NAMES])
plain_lines = st.builds(b"%s: %s\r\n".__mod__, st.tuples(names, st.sampled_from(VALUES)))
odd_lines = st.builds(
    b"%s%s%s%s".__mod__,
    st.tuples(
        names | st.binary(max_size=4),
        st.sampled_from([b": ", b":", b":  ", b" : ", b":\t"]),
        st.sampled_from([*VALUES, b"", b"a ", b" "]) | st.binary(max_size=4),
        st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n "]),
    ),
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Draws a plain head with at most one oddity."""
    odd = draw(st.sampled_from(["nothing", "target", "query", "line", "byte"]))
    target = draw(st.sampled_from(TARGETS)) if odd == "target" else TARGETS[0]
    query = b"?" + draw(st.binary(max_size=4)) if odd == "query" else b""
    lines = draw(st.lists(plain_lines, max_size=4))
    if odd == "line":
        lines.insert(draw(st.integers(0, len(lines))), draw(odd_lines))
    method = draw(st.sampled_from([b"GET", b"GET", b"HEAD"]))
    lines.insert(draw(st.integers(0, len(lines))), b"Host: a\r\n")
    head = b"%s %s%s HTTP/1.1\r\n%s\r\n" % (method, target, query, b"".join(lines))
    if odd != "byte":
        return head
    at = draw(st.integers(0, len(head)))
    return head[:at] + draw(st.binary(max_size=2)) + head[at + draw(st.integers(0, 1)) :]


@settings(max_examples=10 * settings().max_examples, deadline=None)
@given(data=heads(), country=st.sampled_from(list(COUNTRIES)))
@example(data=b"GET /a HTTP/1.1\r\nHost: a\r\n: DE\r\n\r\n", country=b"")
@example(
    data=b"GET /a HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n", country=b"x-country"
)
def test_whatever_the_reader_takes_the_parser_reads_the_same(data: bytes, country: bytes) -> None:
    check(data, country)


@pytest.mark.parametrize("country", COUNTRIES)
def test_the_same_of_requests_by_chance_of_which_it_takes_many(country: bytes) -> None:
    requests = RequestGenerator(seed=7)
    sent = [requests.any().content for _ in range(3_000)]
    taken = [data for data in sent if check(data, country)]
    assert len(taken) > 170


def test_every_byte_in_a_query_that_the_reader_takes_is_one_the_parser_takes() -> None:
    for byte in range(256):
        check(b"GET /a?%c HTTP/1.1\r\nHost: a\r\n\r\n" % byte, b"cf-ipcountry")
        check(b"GET /a HTTP/1.1\r\nHost: a\r\nX-A: b%cc\r\n\r\n" % byte, b"cf-ipcountry")
        check(b"GET /a HTTP/1.1\r\nHost: a\r\nX%cA: b\r\n\r\n" % byte, b"cf-ipcountry")
        check(b"GET /a HTTP/1.1\r\nHost: a%cb\r\n\r\n" % byte, b"cf-ipcountry")


def test_the_reader_takes_what_browsers_send() -> None:
    sent = (
        b"GET /tc_ABC123?sub1=a&x=%20 HTTP/1.1\r\nHost: edge\r\nConnection: keep-alive\r\n"
        b'sec-ch-ua: "Chromium";v="140"\r\nUpgrade-Insecure-Requests: 1\r\nUser-Agent: a\r\n'
        b"Accept: */*\r\nSec-Fetch-Site: none\r\nAccept-Language: de\r\nCookie: a=b\r\n\r\n"
    )
    assert check(sent, b"cf-ipcountry")
    assert read_heads(sent).methods == (b"GET",)


@pytest.mark.parametrize("place", range(4))
def test_the_reader_takes_a_host_wherever_it_stands_but_once(place: int) -> None:
    def head(*hosts: bytes) -> bytes:
        lines = [b"User-Agent: a", b"Accept: */*", b"Referer: https://blog.example/"]
        lines[place:place] = hosts
        return b"GET /tc_ABC123 HTTP/1.1\r\n%s\r\n\r\n" % b"\r\n".join(lines)

    assert check(head(b"Host: edge"), b"")
    assert check(head(b"host: edge:8000"), b"")
    assert not check(head(), b"")
    assert not check(head(b"Host: edge", b"Host: edge"), b"")
    assert not check(head(b"Host: edge/a"), b"")
