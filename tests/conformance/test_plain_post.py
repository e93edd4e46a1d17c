"""The fast path accepts only posts that the HTTP parser accepts, and reads the same in them."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.conversions.plain_post import read_plain_post
from tests.conformance.parsed import Parsed
from tests.conformance.test_posts import AUTH, JSON, PATH, order, post


def check(data: bytes) -> bool:
    """Returns True for a plain post; AssertionError unless the parser agrees."""
    plain = read_plain_post(data)
    if plain is None:
        return False
    parsed = Parsed(data)
    assert (parsed.begun, parsed.complete) == (1, 1)
    assert (parsed.parser.get_method(), parsed.url) == (b"POST", PATH.encode())
    assert parsed.parser.get_http_version() == "1.1"
    assert parsed.parser.should_keep_alive()
    assert not parsed.parser.should_upgrade()
    assert parsed.body == plain.body
    headers = parsed.first()
    assert [name for name, _ in parsed.headers].count(b"host") == 1
    assert headers[b"authorization"].split(b" ") in (
        [b"Bearer", plain.secret.encode()],
        [b"bearer", plain.secret.encode()],
    )
    declared = headers.get(b"content-type", b"application/json")
    assert declared.partition(b";")[0].strip() == b"application/json"
    assert not {b"expect", b"content-encoding"} & headers.keys()
    return True


_NAMES = st.sampled_from(
    [
        *(b"host", b"user-agent", b"x-a", b"authorization", b"content-type", b"content-length"),
        *(b"transfer-encoding", b"expect", b"upgrade", b"connection", b"proxy-connection", b"te"),
        *(b"Content-Length", b"CONTENT-TYPE", b"Expect", b"Content-Encoding"),
    ]
)
_VALUES = st.sampled_from(
    [b"a", b"close", b"keep-alive", b"chunked", b"2", b"0", b"02", b"application/json", b"Bearer x"]
)
_LINES = st.builds(
    b"%s%s%s%s".__mod__,
    st.tuples(
        _NAMES | st.binary(max_size=3),
        st.sampled_from([b": ", b": ", b":", b" : "]),
        _VALUES | st.binary(max_size=4),
        st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\n "]),
    ),
)


@st.composite
def posts(draw: st.DrawFn) -> bytes:
    """Draws a plain post with at most one oddity."""
    lines = [
        b"Host: a\r\n",
        b"Authorization: Bearer abc\r\n",
        b"Content-Type: application/json\r\n",
        b"Content-Length: 2\r\n",
    ]
    for line in draw(st.lists(_LINES, max_size=3)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    data = b"POST %s HTTP/1.1\r\n%s\r\n{}" % (PATH.encode(), b"".join(lines))
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.binary(max_size=2)) + data[at + draw(st.integers(0, 1)) :]


@settings(max_examples=20 * settings().max_examples, deadline=None)
@given(data=posts())
@example(data=post(b"{}", AUTH, JSON, "Content-Length: 2"))
def test_whatever_passes_for_a_plain_post_the_parser_reads_the_same(data: bytes) -> None:
    check(data)


def test_what_shops_send_is_plain() -> None:
    lines = ("User-Agent: shop/1.0", "Accept: */*", "Accept-Encoding: gzip", AUTH, JSON)
    assert check(post(order("1"), *lines))
    assert check(post(order("1"), *lines, "Connection: keep-alive"))
    assert not check(post(order("1"), *lines) + b"x")
    assert not check(post(order("1"), *lines)[:-1])


@pytest.mark.parametrize("place", range(4))
def test_a_host_may_stand_anywhere_but_once(place: int) -> None:
    def data(*hosts: bytes) -> bytes:
        lines = [AUTH.encode(), JSON.encode(), b"Content-Length: 2"]
        lines[place:place] = hosts
        return b"POST %s HTTP/1.1\r\n%s\r\n\r\n{}" % (PATH.encode(), b"\r\n".join(lines))

    assert check(data(b"Host: a"))
    assert not check(data())
    assert not check(data(b"Host: a", b"host: a"))
    assert not check(data(b"Host: a b"))


def test_a_head_that_was_read_before_says_how_long_its_body_is() -> None:
    first, second = (post(order(text), AUTH, JSON) for text in ("a", "b"))
    assert check(first)
    assert check(second)
    assert not check(second + b" ")
    assert not check(second[:-1])
    assert check(post(order("longer"), AUTH, JSON))


def test_a_post_with_an_idempotency_key_goes_the_ordinary_way() -> None:
    assert read_plain_post(post(order("a"), AUTH, JSON)) is not None
    for name in ("Idempotency-Key", "idempotency-key"):
        assert read_plain_post(post(order("a"), AUTH, JSON, f"{name}: k1")) is None
