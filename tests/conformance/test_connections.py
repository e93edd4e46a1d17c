"""Many requests on one connection, however segmented, get the same answers from both edges."""

import pytest

from loadtests.edge_pair import KEY
from loadtests.wire import read_heads
from tests.conformance.both import STILL_OPEN, Both
from tests.conformance.cases import (
    CLICK,
    FIREFOX,
    Case,
    answered,
    check,
    cut,
    post,
    redirected,
    request,
)

OTHER = request("/tc_MACROS?sub1=b&x=%20", FIREFOX)
HEAD = request("/tc_PLAIN?sub1=head", FIREFOX, method="HEAD")
UNKNOWN = request("/nothing-here")
REFUSED = post(b'{"order_id": "1"}')
CHUNKED = request("/tc_PLAIN?sub1=chunked", "Transfer-Encoding: chunked")
CHUNKS = b"5\r\nhello\r\n3;a=b\r\n, w\r\n0\r\nX-Trailer: a\r\n\r\n"
BODIED = request("/tc_PLAIN?sub1=body", f"Content-Length: {len(CLICK)}")
MIXED = (CLICK, UNKNOWN, HEAD, STILL_OPEN, REFUSED, OTHER, request("/tc_OFF"), BODIED + CLICK)
MIXED_STATUSES = (302, 404, 302, 200, 401, 302, 410, 302)
MIXED_CLICKS = 4


@pytest.mark.parametrize("order", [1, -1], ids=["forward", "backward"])
async def test_requests_one_after_the_other_keep_their_connection(both: Both, order: int) -> None:
    async with both.open() as wires:
        for _ in range(2):
            for sent, status in list(zip(MIXED, MIXED_STATUSES, strict=True))[::order]:
                answer = await both.ask_on(wires, sent)
                assert (answer.statuses, answer.ended) == ((status,), False)


async def test_two_pipelined_clicks_are_answered_in_order(both: Both) -> None:
    answer = await both.ask(CLICK + OTHER)
    assert answer.statuses == (302, 302)
    assert [click.sub1 for click in answer.clicks] == ["", "b"]


async def test_twenty_pipelined_clicks_are_answered_in_order(both: Both) -> None:
    numbered = [request(f"/tc_PLAIN?sub1={number}", FIREFOX) for number in range(20)]
    answer = await both.ask(b"".join(numbered))
    assert answer.statuses == (302,) * 20
    assert [click.sub1 for click in answer.clicks] == [str(number) for number in range(20)]


@pytest.mark.parametrize("order", [1, -1], ids=["forward", "backward"])
async def test_mixed_requests_in_one_segment_are_answered_in_order(both: Both, order: int) -> None:
    answer = await both.ask(b"".join((MIXED * 3)[::order]))
    assert answer.statuses == (MIXED_STATUSES * 3)[::order]
    assert len(answer.clicks) == 3 * MIXED_CLICKS


async def test_a_click_that_comes_byte_by_byte_is_one(both: Both) -> None:
    sent = request("/tc_PLAIN?sub1=a", "User-Agent: a")
    await check(both, redirected("", *(sent[i : i + 1] for i in range(len(sent)))))


@pytest.mark.parametrize("at", range(1, len(CLICK), 7))
async def test_a_click_in_two_segments_is_one(both: Both, at: int) -> None:
    await check(both, redirected("", CLICK[:at], CLICK[at:]))


@pytest.mark.parametrize("at", range(1, len(CLICK), 7))
async def test_a_segment_may_end_inside_a_later_request(both: Both, at: int) -> None:
    sent = CLICK + OTHER + CLICK
    answer = await both.ask(sent[: len(CLICK) + at], sent[len(CLICK) + at :])
    assert answer.statuses == (302, 302, 302)
    assert [click.sub1 for click in answer.clicks] == ["", "b", ""]


async def test_a_click_behind_one_that_still_waits_is_not_lost(both: Both) -> None:
    segments = (CLICK, OTHER, UNKNOWN, CLICK, HEAD)
    async with both.open() as wires:
        for sent in segments:
            for wire in wires:
                wire.send(sent)
        answer = await both.compare(wires, read_heads(b"".join(segments)))
    assert answer.statuses == (302, 302, 404, 302, 302)
    assert len(answer.clicks) == 4


METHODS = [
    answered("POST", 405, post(b"", target="/tc_PLAIN")),
    answered("POST with a body that is a click", 405, post(CLICK, target="/tc_PLAIN")),
    answered("PUT", 405, request("/tc_PLAIN", "Content-Length: 0", method="PUT")),
    answered("DELETE", 405, request("/tc_PLAIN", method="DELETE")),
    answered("OPTIONS", 405, request("/tc_PLAIN", method="OPTIONS")),
    answered("OPTIONS of everything", 404, request("*", method="OPTIONS")),
    answered("PATCH of an unknown code", 405, request("/nothing", method="PATCH")),
    answered("TRACE", 405, request("/tc_PLAIN", method="TRACE")),
    answered("CONNECT", 400, request("edge:80", method="CONNECT"), ended=True),
    answered("lower case", 400, request("/tc_PLAIN", method="get"), ended=True),
    answered("an unknown method", 400, request("/tc_PLAIN", method="GETT"), ended=True),
    answered("no method", 400, b" /tc_PLAIN HTTP/1.1\r\n\r\n", ended=True),
    answered("TLS", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ended=True),
    answered("HTTP/2", 400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ended=True),
    answered("zeros", 400, b"\0" * 100, ended=True),
    redirected("a click and what is no request", CLICK + b"GARBAGE", ended=True),
    Case("clicks and what is no request", (CLICK + HEAD + b"\0" * 9,), (302, 302), 2, ended=True),
]
VERSIONS = [
    redirected("1.0", request("/tc_PLAIN", version="1.0"), ended=True),
    redirected(
        "1.0 kept", request("/tc_PLAIN", "Connection: keep-alive", version="1.0"), ended=True
    ),
    redirected("1.0 HEAD", request("/tc_PLAIN", version="1.0", method="HEAD"), ended=True),
    redirected("1.0 and another", request("/tc_PLAIN", version="1.0") + CLICK, ended=True),
    redirected("1.0 without a host", b"GET /tc_PLAIN HTTP/1.0\r\n\r\n", ended=True),
    answered("1.1 without a host", 400, b"GET /tc_PLAIN HTTP/1.1\r\n\r\n", ended=True),
    answered(
        "1.1 with a header but no host", 400, b"GET /tc_PLAIN HTTP/1.1\r\nA: b\r\n\r\n", ended=True
    ),
    answered("two hosts", 400, request("/tc_PLAIN", "Host: other"), ended=True),
    answered("the same host twice", 400, request("/tc_PLAIN", "host: edge"), ended=True),
    answered(
        "two hosts, of which one is first and one last",
        400,
        request("/tc_PLAIN", FIREFOX, "HOST: edge"),
        ended=True,
    ),
    answered("a host that is none", 400, CLICK.replace(b"Host: edge", b"Host: a b"), ended=True),
    answered("a host with a path", 400, CLICK.replace(b"Host: edge", b"Host: a/b"), ended=True),
    redirected("a host that is empty", CLICK.replace(b"Host: edge", b"Host: ")),
    redirected("a host that is an address", CLICK.replace(b"Host: edge", b"Host: [::1]:8000")),
    redirected(
        "a host after other headers",
        f"GET /tc_PLAIN HTTP/1.1\r\n{FIREFOX}\r\nHost: edge\r\n\r\n".encode(),
    ),
    redirected("empty lines before it", b"\r\n\r\n" + CLICK),
    redirected("empty lines in a segment of their own", b"\r\n", CLICK),
    redirected("half an empty line in a segment of its own", b"\r", CLICK),
    redirected("two spaces in the request line", CLICK.replace(b" ", b"  ", 1)),
    redirected("0.9", b"GET /tc_PLAIN\r\n\r\n", ended=True),
    answered("1.2", 400, request("/tc_PLAIN", version="1.2"), ended=True),
    redirected("2.0", request("/tc_PLAIN", version="2.0"), ended=True),
    answered("11", 400, request("/tc_PLAIN", version="11"), ended=True),
    answered("a protocol in lower case", 400, CLICK.replace(b"HTTP", b"http"), ended=True),
    answered("lines that end in LF", 400, CLICK.replace(b"\r\n", b"\n"), ended=True),
    answered("a head that ends in LF", 400, CLICK[:-2] + b"\n", ended=True),
    answered("lines that end in CR", 400, CLICK.replace(b"\r\n", b"\r"), ended=True),
]
BODIES = [
    redirected("a GET with a body", BODIED + CLICK),
    redirected("a GET with a body in a segment of its own", BODIED, CLICK),
    redirected("a GET with chunks", CHUNKED + CHUNKS),
    redirected("a GET with chunks in segments", CHUNKED, CHUNKS[:3], CHUNKS[3:12], CHUNKS[12:]),
    redirected("a GET whose body never comes", BODIED, ended=True),
    redirected("a GET whose chunks never end", CHUNKED + CHUNKS[:10], ended=True),
    redirected("a HEAD with a body", BODIED.replace(b"GET", b"HEAD") + CLICK),
    redirected(
        "an expectation and its body",
        request("/tc_PLAIN", "Expect: 100-continue", "Content-Length: 2") + b"{}",
    ),
    answered(
        "an expectation that is refused",
        401,
        request("/v1/conversions", "Expect: 100-continue", "Content-Length: 2", method="POST"),
        b"{}",
    ),
    answered(
        "an expectation that is met",
        422,
        request(
            "/v1/conversions",
            f"Authorization: Bearer {KEY}",
            "Expect: 100-continue",
            "Content-Length: 2",
            method="POST",
        )
        + b"{}",
    ),
    answered("a refused body", 422, post(b"{}", f"Authorization: Bearer {KEY}")),
    answered(
        "a refused body in segments", 422, *cut(post(b"{}", f"Authorization: Bearer {KEY}"), 50)
    ),
]


@pytest.mark.parametrize("case", METHODS + VERSIONS + BODIES, ids=lambda case: case.name)
async def test_a_request_is_taken_alike(both: Both, case: Case) -> None:
    await check(both, case)
