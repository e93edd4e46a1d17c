"""Many conversions in one body get one result each, in order, unless the body is refused."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx2
import msgspec
import pytest
from starlette.types import Message

from ingest.app import create_app
from ingest.conversions.batch import LINES_MAX
from ingest.publishing.publishers import FRAME_CONVERSIONS_MAX
from ingest.publishing.stream_producer import PublishReply, ScriptCall
from linkjolt import redis_keys
from linkjolt.storage.redis import RedisConnectionError, read_stream
from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_http import ORDER
from tests.waiting import wait_until

JSON, NDJSON = "application/json", "application/x-ndjson"


def order(order_id: str, **fields: Any) -> dict[str, Any]:
    return {**ORDER, "order_id": order_id, **fields}


def lines_of(posts: Sequence[object]) -> bytes:
    return b"\n".join(msgspec.json.encode(post) for post in posts) + b"\n"


def body_of(media_type: str, posts: Sequence[object]) -> bytes:
    return lines_of(posts) if media_type == NDJSON else msgspec.json.encode(posts)


async def send(shop: Shop, body: object, media_type: str, key: str = "") -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key or shop.key}", "Content-Type": media_type}
    content: Any = body
    return await shop.client.post("/v1/conversions", content=content, headers=headers)


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
async def test_each_entry_has_its_own_result_in_order(shop: Shop, media_type: str) -> None:
    posts = [
        order("a"),
        {**order("b"), "color": "red"},
        {**order("c"), "orderId": "d"},
        5,
        order("a"),
        order("a", order_value=1),
        order("e", tracking_code="nope"),
        order("f", metadata={"a": "x" * 5_000}),
        order("g"),
    ]
    answer = await send(shop, body_of(media_type, posts), media_type)
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
    body = answer.json()
    assert [result["status"] for result in body["data"]] == [
        *(201, 422, 422, 422, 200, 409, 422, 422, 201)
    ]
    assert (body["accepted"], body["rejected"]) == (3, 6)
    assert [result.get("code", "") for result in body["data"]] == [
        *("", "unknown_field", "invalid_field", "invalid_field", "", "conflict"),
        *("unknown_tracking_code", "invalid_field", ""),
    ]
    fields = [e["field"] for result in body["data"] for e in result.get("errors", ())]
    assert fields == ["color", "orderId", "body", "order_id", "tracking_code", "metadata"]
    first, again = body["data"][0]["conversion"], body["data"][4]["conversion"]
    assert again == {**first, "duplicate": True}
    assert [stored.order_id for stored in await shop.conversions()] == ["a", "g"]


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
async def test_an_entry_is_answered_as_a_single_post_is(shop: Shop, media_type: str) -> None:
    [result] = (await send(shop, body_of(media_type, [order("a")]), media_type)).json()["data"]
    single = await shop.post(order("a"))
    assert single.status_code == 200
    assert {**result["conversion"], "duplicate": True} == single.json()


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
async def test_no_entries_are_no_results(shop: Shop, media_type: str) -> None:
    answer = await send(shop, body_of(media_type, []), media_type)
    assert (answer.status_code, answer.json()) == (200, {"data": [], "accepted": 0, "rejected": 0})


async def test_a_line_that_is_no_json_spoils_only_itself(shop: Shop) -> None:
    lines = [msgspec.json.encode(order("a")), b'{"order_id":', msgspec.json.encode(order("b"))]
    answer = await send(shop, b"\r\n\n".join(lines), NDJSON)
    assert [result["status"] for result in answer.json()["data"]] == [201, 400, 201]
    assert answer.json()["data"][1]["code"] == "malformed_json"
    assert [stored.order_id for stored in await shop.conversions()] == ["a", "b"]


async def test_a_line_that_is_too_long_or_too_deep_spoils_only_itself(shop: Shop) -> None:
    long = order("a", adv1="x" * 200_000)
    deep = b'{"metadata":' + b'{"a":' * 40 + b"1" + b"}" * 41 + b"\n"
    body = lines_of([long]) + deep + lines_of([order("b")])
    results = (await send(shop, body, NDJSON)).json()["data"]
    assert [result["status"] for result in results] == [413, 400, 201]
    assert [result.get("code") for result in results[:2]] == ["body_too_large", "too_deep"]


async def test_entries_travel_in_frames_of_at_most_256(shop: Shop) -> None:
    posts = [order(str(number)) for number in range(600)]
    answer = await send(shop, lines_of(posts), NDJSON)
    assert answer.json()["accepted"] == 600
    rows = await read_stream(shop.redis, redis_keys.conversions(0).key, "-")
    sizes = [fields[b"f"].count(b"\n") + 1 for _, fields in rows]
    assert sum(sizes) == 600
    assert max(sizes) <= FRAME_CONVERSIONS_MAX
    assert [stored.order_id for stored in await shop.conversions()] == [str(n) for n in range(600)]


async def chunked(body: bytes) -> AsyncGenerator[bytes]:
    for at in range(0, len(body), 1 << 20):
        yield body[at : at + (1 << 20)]


SUNK: list[tuple[bytes, str, int, str]] = [
    (body_of(JSON, [order(str(n)) for n in range(1_001)]), JSON, 422, "invalid_field"),
    (body_of(JSON, [order("a")])[:-1], JSON, 400, "malformed_json"),
    (b"[" * 100_000, JSON, 400, "too_deep"),
    (b"[" + b" " * (10 << 20) + b"]", JSON, 413, "body_too_large"),
    (b" " * 70_000 + b"{}", JSON, 413, "body_too_large"),
    (b" " * ((10 << 20) + 1), NDJSON, 413, "body_too_large"),
    (b'"text"', JSON, 422, "invalid_field"),
    (lines_of([order("a")]), "text/csv", 415, "unsupported_media_type"),
]


@pytest.mark.parametrize("streamed", [False, True], ids=["sized", "chunked"])
@pytest.mark.parametrize(("body", "media_type", "status", "code"), SUNK, ids=range(len(SUNK)))
async def test_what_is_wrong_with_the_whole_body_is_one_problem_and_stores_nothing(
    shop: Shop, body: bytes, media_type: str, status: int, code: str, streamed: bool
) -> None:
    answer = await send(shop, chunked(body) if streamed else body, media_type)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert await shop.conversions() == []


async def test_without_a_key_that_may_nothing_of_a_batch_is_read(shop: Shop) -> None:
    key = await make_key(shop.registry, ["reports:read"])
    for wrong, status in (("lj_live_nonsense", 401), (key, 403)):
        assert (await send(shop, lines_of([order("a")]), NDJSON, wrong)).status_code == status
    assert await shop.conversions() == []


async def test_lines_beyond_the_bound_are_refused_with_the_results_of_those_before(
    shop: Shop,
) -> None:
    posts = [order("a"), order("b"), *([5] * (LINES_MAX - 1))]
    answer = await send(shop, lines_of(posts), NDJSON)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (413, "body_too_large")
    assert answer.headers["content-type"] == "application/problem+json"
    assert [result["status"] for result in problem["data"]] == [201, 201, *[422] * (LINES_MAX - 2)]
    assert (problem["accepted"], problem["rejected"]) == (2, LINES_MAX - 2)
    assert [conversion.order_id for conversion in await shop.conversions()] == ["a", "b"]
    again = (await send(shop, lines_of(posts[:-1]), NDJSON)).json()
    assert [result["status"] for result in again["data"][:3]] == [200, 200, 422]
    assert len(again["data"]) == LINES_MAX


async def test_a_body_that_grows_too_large_has_the_results_of_its_lines_so_far(shop: Shop) -> None:
    filler = b" " * (1 << 20)

    async def endless() -> AsyncGenerator[bytes]:
        yield lines_of([order("a"), 5])
        for _ in range(11):
            yield filler

    answer = await send(shop, endless(), NDJSON)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (413, "body_too_large")
    assert [result["status"] for result in problem["data"]] == [201, 422]
    assert problem["data"][0]["conversion"]["order_id"] == "a"
    assert (problem["accepted"], problem["rejected"]) == (1, 1)


async def post_pieces(shop: Shop, pieces: "asyncio.Queue[Message]") -> list[Message]:
    """Sends NDJSON in separate ASGI messages; returns the application's messages."""
    headers = [
        (b"host", b"edge"),
        (b"authorization", f"Bearer {shop.key}".encode()),
        (b"content-type", NDJSON.encode()),
    ]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/conversions",
        "raw_path": b"/v1/conversions",
        "query_string": b"",
        "headers": headers,
        "client": None,
    }
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    await create_app(shop.edge)(scope, pieces.get, keep)
    return sent


async def test_lines_are_stored_while_others_are_still_to_come_and_stay_if_these_never_do(
    shop: Shop,
) -> None:
    pieces: asyncio.Queue[Message] = asyncio.Queue()
    torn = lines_of([order("c")])[:-20]
    first = lines_of([order("a"), order("b")]) + torn
    posting = asyncio.create_task(post_pieces(shop, pieces))
    pieces.put_nowait({"type": "http.request", "body": first, "more_body": True})

    async def stored() -> bool:
        return len(await shop.conversions()) == 2

    await wait_until(stored)
    assert not posting.done()
    pieces.put_nowait({"type": "http.disconnect"})
    sent = await posting
    assert sent[0]["status"] == 400
    assert [result["status"] for result in msgspec.json.decode(sent[1]["body"])["data"]] == [
        201
    ] * 2
    assert [stored.order_id for stored in await shop.conversions()] == ["a", "b"]
    # Whoever sends it again learns what was taken.
    again = await send(shop, lines_of([order(name) for name in "abc"]), NDJSON)
    assert [result["status"] for result in again.json()["data"]] == [200, 200, 201]


async def test_entries_are_queued_while_redis_is_away(shop: Shop) -> None:
    # The link and the key are in memory then.
    assert (await shop.post(order("a"))).status_code == 201
    producer = shop.edge.conversion_publishers[0].producer
    publish = producer.publish

    async def away(calls: Sequence[ScriptCall], /) -> list[PublishReply]:
        raise RedisConnectionError("away")

    producer.publish = away
    answer = (await send(shop, lines_of([order("b"), 5, order("c")]), NDJSON)).json()
    assert [result["status"] for result in answer["data"]] == [202, 422, 202]
    assert answer["data"][0]["conversion"]["status"] == "queued"
    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    producer.publish = publish
    await wait_until(lambda: producer.spooled_events == 0)
    assert [stored.order_id for stored in await shop.conversions()] == ["a", "b", "c"]
