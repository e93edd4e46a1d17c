"""Both edges answer posted conversions alike, and store the same conversions."""

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import msgspec
import pytest

from linkjolt import redis_keys
from linkjolt.events import Conversion
from linkjolt.registry import api_key_secrets
from linkjolt.storage.redis import connect, read_stream
from loadtests.edge_pair import KEY, EdgePair, PairedEdge
from loadtests.wire import Wire
from tests.conformance.both import Both
from tests.conformance.cases import CLICK, FIREFOX, cut, request
from tests.conformance.clocked import Clocked, Running

PATH = "/v1/conversions"
AUTH = f"Authorization: Bearer {KEY}"
JSON = "Content-Type: application/json"


def order(order_id: str, **fields: Any) -> bytes:
    """Builds a sale with a fixed time, so that answers have one length."""
    known = {"tracking_code": "tc_PLAIN", "order_id": order_id, "order_value": 99.99}
    return msgspec.json.encode({**known, "timestamp": "2026-01-01T00:00:00Z", **fields})


def post(body: bytes, *lines: str, target: str = PATH, version: str = "1.1") -> bytes:
    size = f"Content-Length: {len(body)}"
    return request(target, *(lines or (AUTH, JSON)), size, method="POST", version=version) + body


class Stored:
    """Reads an edge's stream of conversions, without their ids."""

    def __init__(self, edge: PairedEdge) -> None:
        self._url = edge.redis.url
        self._after = "-"

    async def new(self) -> list[Conversion]:
        async with connect(self._url) as redis:
            rows = await read_stream(redis, redis_keys.conversions(0).key, self._after)
        if rows:
            self._after = f"({rows[-1][0].decode()}"
        lines = [line for _, fields in rows for line in fields[b"f"].split(b"\n")]
        conversions = [msgspec.json.decode(line, type=Conversion) for line in lines]
        return [msgspec.structs.replace(conversion, conversion_id="") for conversion in conversions]


@pytest.fixture
async def stored(both: Both, pair: EdgePair) -> AsyncGenerator[tuple[Stored, Stored]]:
    """Uses the key until both edges have it in memory, which takes two posts."""
    for number in range(2):
        assert (await both.ask(post(order(f"warm {number}")))).statuses[0] in (200, 201)
    first, second = (Stored(edge) for edge in pair.edges)
    await first.new()
    await second.new()
    yield first, second


class PostCase(NamedTuple):
    """Segments, each sent when the one before was read, and the expected answers."""

    name: str
    segments: tuple[bytes, ...]
    statuses: tuple[int, ...]
    stored_count: int


def taken(
    name: str, *segments: bytes, statuses: tuple[int, ...] = (201,), stored_count: int = 1
) -> PostCase:
    return PostCase(name, segments, statuses, stored_count)


def refused(name: str, status: int, *segments: bytes) -> PostCase:
    return PostCase(name, segments, (status,), 0)


def chunked(body: bytes) -> bytes:
    head = request(PATH, AUTH, JSON, "Transfer-Encoding: chunked", method="POST")
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


WRONG = f"Authorization: Bearer {api_key_secrets.make_secret()}"
LARGE = order("la", metadata={"a": "x" * 3_900}) + b" " * 8_000
DEEP = b'{"metadata":' + b'{"a":' * 40 + b"1" + b"}" * 41
ALIASES = (
    b'{"trackingCode":"tc_PLAIN","orderId":"al","amount":"5","timestamp":"2026-01-01T00:00:00Z"}'
)
ALIASED = ALIASES.replace(b'"al"', b'"aic"')
SPELLED = order(" sp\u200b", currency="usd", coupon_code="", customer_email="guest", customer_id=7)
TWICE = order("tw").replace(b'"order_id"', b'"order_value":1,"order_id"')
LEAD = b'{"tracking_code":"tc_PLAIN","event":"lead","timestamp":"2026-01-01T00:00:00Z"}'
HALVES = post(order("h1")) + post(order("h2"))
CASES = [
    taken("plain", post(order("plain"))),
    taken("twice", post(order("t")), post(order("t")), statuses=(201, 200)),
    taken("conflict", post(order("c")), post(order("c", order_value=1)), statuses=(201, 409)),
    taken(
        "pipelined",
        post(order("p1")) + post(order("p2")) + post(order("p1")),
        statuses=(201, 201, 200),
        stored_count=2,
    ),
    taken("among clicks", CLICK + post(order("ac")) + CLICK, statuses=(302, 201, 302)),
    taken("behind a click", CLICK, post(order("bc")), CLICK, statuses=(302, 201, 302)),
    taken("in segments", *cut(post(order("s")), 60)),
    taken("its body apart", *cut(post(order("ba")), len(post(order("ba"))) - 20)),
    taken("one and a half", HALVES[:-90], HALVES[-90:], statuses=(201, 201), stored_count=2),
    taken("lower case", post(order("lc"), f"authorization: bearer {KEY}", JSON.lower())),
    taken("a charset", post(order("cs"), AUTH, f"{JSON}; charset=utf-8")),
    taken("no type", post(order("nt"), AUTH)),
    refused("an empty type", 415, post(order("et"), AUTH, "Content-Type:")),
    refused("a form", 415, post(order("f"), AUTH, "Content-Type: multipart/form-data")),
    taken("blanks", post(b" \n" + order("b") + b"\r\n ")),
    taken("of a browser", post(order("br"), FIREFOX, AUTH, JSON, "Connection: keep-alive")),
    taken("the last one", post(order("cl"), AUTH, JSON, "Connection: close")),
    taken("a query", post(order("q"), target=f"{PATH}?a=1")),
    refused("a slash", 404, post(order("sl"), target=f"{PATH}/")),
    taken("an old version", post(order("ov"), version="1.0")),
    taken("large", post(LARGE)),
    refused("no key", 401, post(order("nk"), JSON)),
    refused("a wrong key", 401, post(order("wk"), WRONG, JSON)),
    refused("another scheme", 401, post(order("os"), f"Authorization: Basic {KEY}", JSON)),
    taken("two keys", post(order("tk"), AUTH, WRONG, JSON)),
    taken("a key behind spaces", post(order("sk"), f"Authorization: Bearer  {KEY}", JSON)),
    refused("no length", 400, request(PATH, AUTH, JSON, method="POST")),
    taken("chunked", chunked(order("ch"))),
    taken(
        "an array",
        post(b"[" + order("a1") + b"," + order("a2") + b"]"),
        statuses=(200,),
        stored_count=2,
    ),
    taken("aliases", post(ALIASES)),
    taken(
        "aliases in conflict",
        post(ALIASED),
        post(ALIASED.replace(b'"5"', b'"6"')),
        statuses=(201, 409),
    ),
    taken(
        "other spellings",
        post(SPELLED),
        post(order("sp", currency="USD", customer_id="7")),
        statuses=(201, 200),
    ),
    taken("a byte order mark", post(b"\xef\xbb\xbf" + order("bom"))),
    taken("plainly encoded", post(order("pe"), AUTH, JSON, "Content-Encoding: identity")),
    refused("an encoding", 415, post(order("en"), AUTH, JSON, "Content-Encoding: gzip")),
    refused("a name twice", 422, post(TWICE)),
    taken("a lead", post(LEAD)),
    taken("any text", post(order('ü\u2028\\"', adv1="näher"))),
    refused("a control character", 422, post(order("a\nb"))),
    refused("an unknown code", 422, post(order("uc", tracking_code="nope"))),
    refused("a deleted link", 422, post(order("dl", tracking_code="tc_GONE"))),
    taken("a forged click", post(order("fc", click_id="0" * 26))),
    refused("an unknown field", 422, post(order("uf", color="red"))),
    refused("no JSON", 400, post(b"{]")),
    refused("too deep", 400, post(DEEP)),
    refused("nothing", 400, post(b"")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_post_is_answered_and_stored_alike(
    both: Both, stored: tuple[Stored, Stored], case: PostCase
) -> None:
    answer = await both.ask(*case.segments)
    assert answer.statuses == case.statuses
    ordinary, fast = [await stream.new() for stream in stored]
    assert fast == ordinary
    assert len(fast) == case.stored_count


def test_only_a_fast_edge_answers_a_plain_post_before_the_application(run: Running) -> None:
    async def scenario(edge: Clocked) -> None:
        async with Wire.open(edge.port) as wire:
            for number in range(2):
                await wire.ask(post(order(f"way {edge.fast} warm {number}")))
            before = edge.reached(PATH)
            assert (await wire.ask(post(order(f"way {edge.fast}")))).statuses == (201,)
            assert edge.reached(PATH) - before == (0 if edge.fast else 1)
            assert (await wire.ask(post(b"{}"))).statuses == (422,)
            assert edge.reached(PATH) - before == (1 if edge.fast else 2)

    run(scenario)
