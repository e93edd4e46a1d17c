"""Request headers have the same effect on both edges: fields, prefetches, connections."""

import pytest

from loadtests.edge_pair import KEY
from tests.conformance.both import Both
from tests.conformance.cases import (
    CLICK,
    FIREFOX,
    Case,
    answered,
    check,
    post,
    redirected,
    request,
)

LONG = "x" * 1_100
# Header lines, and the fields of the click that is stored.
STORED: list[tuple[str, list[str], dict[str, str]]] = [
    ("none", [], {"user_agent": "", "referrer": "", "language": "", "country": ""}),
    ("a user agent", [FIREFOX], {"user_agent": FIREFOX.removeprefix("User-Agent: ")}),
    ("names in lower case", ["user-agent: a", "referer: b"], {"user_agent": "a", "referrer": "b"}),
    ("names in upper case", ["USER-AGENT: a", "REFERER: b"], {"user_agent": "a", "referrer": "b"}),
    ("two user agents", ["User-Agent: a", "user-agent: b"], {"user_agent": "a"}),
    ("an empty and a full user agent", ["User-Agent:", "User-Agent: b"], {"user_agent": ""}),
    ("an empty user agent", ["User-Agent: "], {"user_agent": ""}),
    ("a user agent of spaces", ["User-Agent:    "], {"user_agent": ""}),
    ("no space behind the colon", ["User-Agent:a"], {"user_agent": "a"}),
    ("two spaces behind the colon", ["User-Agent:  a"], {"user_agent": "a"}),
    ("a tab behind the colon", ["User-Agent:\ta"], {"user_agent": "a"}),
    ("a tab inside", ["User-Agent: a\tb"], {"user_agent": "a\tb"}),
    ("a colon inside", ["User-Agent: a: b"], {"user_agent": "a: b"}),
    ("a header's name inside", ["X-A: user-agent: b", "User-Agent: a"], {"user_agent": "a"}),
    (
        "Latin-1",
        ["User-Agent: \xfc\xff", "Referer: https://a.example/\xe9"],
        {"user_agent": "ü\xff"},
    ),
    ("a long user agent", [f"User-Agent: {LONG}"], {"user_agent": LONG[:1024]}),
    (
        "a long referrer",
        [f"Referer: https://a.example/{LONG}"],
        {"referrer": f"https://a.example/{LONG}"[:1024]},
    ),
    ("quotes and backslashes", ['User-Agent: "a\\b"'], {"user_agent": '"a\\b"'}),
    ("a language", ["Accept-Language: de-DE,de;q=0.9,en;q=0.8"], {"language": "de-DE"}),
    ("a language with its weight", ["Accept-Language: fr;q=0.5"], {"language": "fr"}),
    ("any language", ["Accept-Language: *"], {"language": "*"}),
    ("a long language", ["Accept-Language: " + "l" * 40], {"language": "l" * 16}),
    ("an odd language", ["Accept-Language: ,;;q=x"], {"language": ""}),
    ("two languages", ["Accept-Language: de", "Accept-Language: en"], {"language": "de"}),
    ("a country", ["CF-IPCountry: BR"], {"country": "BR"}),
    ("a country in other letters", ["cf-ipcountry: br"], {"country": "BR"}),
    ("a long country", ["CF-IPCountry: BRAZIL"], {"country": ""}),
    ("an unknown country", ["CF-IPCountry: XX"], {"country": ""}),
    ("Tor for a country", ["CF-IPCountry: T1"], {"country": ""}),
    ("two letters in upper case", ["CF-IPCountry: \xdf"], {"country": ""}),
    ("two countries", ["CF-IPCountry: BR", "CF-IPCountry: US"], {"country": "BR"}),
    ("a region", ["CF-IPCountry: BR", "CF-Region-Code: sp"], {"country": "BR", "region": "SP"}),
    ("a region's name", ["CF-Region-Code: Valle d'Aosta (13)"], {"region": "VALLE D'AOSTA (13)"}),
    ("a name in Latin-1", ["CF-Region-Code: \xcele-de-France"], {"region": "ÎLE-DE-FRANCE"}),
    ("a name in UTF-8", ["CF-Region-Code: \xc3\x8ele-de-France"], {"region": "ÎLE-DE-FRANCE"}),
    ("a long region", ["CF-Region-Code: " + "r" * 65], {"region": ""}),
    ("markup for a region", ["CF-Region-Code: <SCRIPT>"], {"region": ""}),
    ("a formula for a region", ["CF-Region-Code: =1+1"], {"region": ""}),
    ("an address of another header", ["X-Real-IP: 198.51.100.7"], {"ip": "127.0.0.1"}),
    ("a forwarded address", ["X-Forwarded-For: 198.51.100.7"], {"ip": "198.51.100.7"}),
    ("several", ["X-Forwarded-For: 203.0.113.9, 198.51.100.7"], {"ip": "198.51.100.7"}),
    ("behind trusted ones", ["X-Forwarded-For: 198.51.100.7, 127.0.0.1"], {"ip": "198.51.100.7"}),
    ("behind another loopback", ["X-Forwarded-For: 198.51.100.7, 127.0.0.2"], {"ip": "127.0.0.2"}),
    (
        "two forwards, the second the proxy's",
        ["X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 203.0.113.9"],
        {"ip": "203.0.113.9"},
    ),
    ("a forward with a port", ["X-Forwarded-For: 198.51.100.7:8080"], {"ip": "198.51.100.7"}),
    ("IPv6", ["X-Forwarded-For: 2001:db8::1"], {"ip": "2001:db8::1"}),
    ("IPv6 in brackets", ["X-Forwarded-For: [2001:DB8::1]:80"], {"ip": "2001:db8::1"}),
    ("IPv4 in IPv6", ["X-Forwarded-For: ::ffff:198.51.100.7"], {"ip": "198.51.100.7"}),
    ("no address", ["X-Forwarded-For: unknown"], {"ip": "127.0.0.1"}),
    ("an empty forward", ["X-Forwarded-For:"], {"ip": "127.0.0.1"}),
    ("only commas", ["X-Forwarded-For: ,,,"], {"ip": "127.0.0.1"}),
    ("a bad address before", ["X-Forwarded-For: <x>, 198.51.100.7"], {"ip": "198.51.100.7"}),
    ("a bad address behind", ["X-Forwarded-For: 198.51.100.7, <x>"], {"ip": "127.0.0.1"}),
    ("Latin-1 in a forward", ["X-Forwarded-For: \xfc"], {"ip": "127.0.0.1"}),
    (
        "too many addresses",
        ["X-Forwarded-For: " + "127.0.0.1, " * 200 + "127.0.0.1"],
        {"ip": "127.0.0.1"},
    ),
    ("a preview", ["X-Purpose: preview"], {"kind": "prefetch"}),
    ("a preview in other letters", ["x-purpose: Preview"], {"kind": ""}),
    ("another purpose", ["Purpose: click", "Sec-Purpose: x", "X-Moz: x"], {"kind": ""}),
    ("a prefetch later in the value", ["Sec-Purpose: a;prefetch"], {"kind": ""}),
    ("a prefetch in upper case", ["Sec-Purpose: PREFETCH"], {"kind": ""}),
]
PREFETCHES = [
    "Sec-Purpose: prefetch",
    "sec-purpose: prefetch;prerender",
    "SEC-PURPOSE: prefetch;anonymous-client-ip",
    "Sec-Purpose:prefetch",
    "Purpose: prefetch",
    "X-Moz: prefetch",
    "x-moz:   prefetch",
]
KEPT = {
    "keep-alive": ["Connection: keep-alive"],
    "Keep-Alive": ["Connection: Keep-Alive"],
    "KEEP-ALIVE": ["CONNECTION: KEEP-ALIVE"],
    "keep-alive and its header": ["Connection: keep-alive", "Keep-Alive: timeout=5, max=2"],
    "keep-alive and another": ["Connection: keep-alive, TE", "TE: trailers"],
    "another": ["Connection: TE"],
    "nothing": ["Connection: "],
    "a proxy's keep-alive": ["Proxy-Connection: keep-alive"],
    "an upgrade without a word for it": ["Upgrade: websocket"],
    "a word for an upgrade without it": ["Connection: Upgrade"],
    "an upgrade": ["Connection: Upgrade", "Upgrade: websocket"],
    "an upgrade to HTTP/2": ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"],
    "an expectation": ["Expect: 100-continue"],
    "another expectation": ["Expect: a miracle"],
    "an empty body": ["Content-Length: 0"],
}
ENDED = {
    "close": ["Connection: close"],
    "Close": ["connection: Close"],
    "close and another": ["Connection: TE, close"],
    "keep-alive, close": ["Connection: keep-alive, close"],
    "keep-alive, then close": ["Connection: keep-alive", "Connection: close"],
    "a proxy's close": ["Proxy-Connection: close"],
    "keep-alive, then a proxy's close": ["Connection: keep-alive", "Proxy-Connection: close"],
    "close, then keep-alive": ["Connection: close", "Connection: keep-alive"],
}
MALFORMED = {
    "a space before the colon": "User-Agent : a",
    "no colon": "User-Agent",
    "no name": ": a",
    "a space in the name": "User Agent: a",
    "a space before the name": " User-Agent: a",
    "a continued line": "User-Agent: a\r\n b",
    "a continued line with a tab": "User-Agent: a\r\n\tb",
    "a zero in the value": "User-Agent: a\0b",
    "a zero in the name": "User\0Agent: a",
    "a bare CR": "User-Agent: a\rb",
    "a bare LF": "User-Agent: a\nReferer: b",
    "Latin-1 in the name": "\xfcser: a",
    "a length that is no number": "Content-Length: x",
    "a negative length": "Content-Length: -1",
    "a length too large": "Content-Length: 99999999999999999999999",
    "two lengths": "Content-Length: 0\r\nContent-Length: 0",
    "a length and an encoding": "Content-Length: 3\r\nTransfer-Encoding: chunked",
    "an encoding and a length": "Transfer-Encoding: chunked\r\nContent-Length: 3",
    "chunked not at the end": "Transfer-Encoding: chunked, gzip",
}


@pytest.mark.parametrize(("name", "lines", "fields"), STORED, ids=[name for name, _, _ in STORED])
async def test_headers_are_stored_alike(
    both: Both, name: str, lines: list[str], fields: dict[str, str]
) -> None:
    answer = await both.ask(request("/tc_MACROS", *lines))
    assert answer.statuses == (302,)
    [click] = answer.clicks
    assert {field: getattr(click, field) for field in fields} == fields


@pytest.mark.parametrize("line", PREFETCHES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_prefetch_is_told_to_come_again(both: Both, line: str, method: str) -> None:
    answer = await both.ask(request("/tc_PLAIN?sub1=a", FIREFOX, line, method=method))
    assert answer.statuses == (503,)
    assert "cache-control: no-store" in answer.text
    assert answer.clicks == []


@pytest.mark.parametrize("lines", KEPT.values(), ids=KEPT)
async def test_a_connection_is_kept(both: Both, lines: list[str]) -> None:
    await check(both, redirected("", request("/tc_PLAIN", *lines)))


@pytest.mark.parametrize("lines", ENDED.values(), ids=ENDED)
async def test_a_connection_is_ended(both: Both, lines: list[str]) -> None:
    await check(both, redirected("", request("/tc_PLAIN", *lines), ended=True))
    answer = await both.ask(request("/tc_PLAIN", *lines) + CLICK)
    assert (answer.statuses, answer.ended) == ((302,), True)
    assert "connection: close" in answer.text


@pytest.mark.parametrize("line", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_header_is_refused(both: Both, line: str) -> None:
    sent = request("/tc_PLAIN", FIREFOX, line)
    await check(both, answered("", 400, sent, ended=True))


SIZES = [
    redirected("a head of 7,999 bytes", request("/tc_PLAIN", "X-A: " + "a" * (7_999 - 48))),
    redirected("a head of 20,000 bytes", request("/tc_PLAIN", "X-A: " + "a" * 20_000)),
    redirected("a thousand headers", request("/tc_PLAIN", *(f"X-{n}: {n}" for n in range(1_000)))),
    answered("a whole head over 32 KiB", 431, request("/tc_PLAIN", "X-A: " + "a" * 32_800)),
    answered(
        "a head that does not end",
        431,
        request("/tc_PLAIN", "X-A: " + "a" * 33_000)[:-4],
        ended=True,
    ),
    answered("a request line that does not end", 431, b"GET /" + b"a" * 33_000, ended=True),
]


@pytest.mark.parametrize("case", SIZES, ids=lambda case: case.name)
async def test_a_large_head_is_taken_alike(both: Both, case: Case) -> None:
    await check(both, case)


HTTPS = "X-Forwarded-Proto: https"


async def test_what_a_proxy_passes_on_from_https_has_hsts_at_both_edges(both: Both) -> None:
    key = (f"Authorization: Bearer {KEY}", "Content-Type: application/json")
    refused = post(b'{"tracking_code": "nobody", "order_value": 1, "order_id": "h"}', *key, HTTPS)
    async with both.open() as wires:
        for _ in range(3):
            for lines, has_hsts in (((HTTPS,), True), ((), False), (("X-Forwarded-Proto: x",), 0)):
                answer = await both.ask_on(wires, request("/tc_PLAIN", FIREFOX, *lines))
                assert answer.statuses == (302,)
                assert answer.text.count("strict-transport-security") == has_hsts
            answer = await both.ask_on(wires, refused)
            assert answer.statuses == (422,)
            assert "strict-transport-security" in answer.text
