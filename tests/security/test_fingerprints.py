"""What is stored of a post tests no guess of its e-mail, and former fingerprints are recognised."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2s
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingest.conversions.body import ConversionPost, parse_post
from ingest.fingerprints import content_of, fingerprint, former_fingerprint
from ingest.postbacks.dialects import DIALECTS
from ingest.postbacks.pairs import read_parameters
from ingest.postbacks.parameters import read_postback
from linkjolt import redis_keys
from linkjolt.datasets import Dataset
from linkjolt.storage.redis import call
from tests.ingest.conftest import Shop
from tests.ingest.conversions.test_attribution import change_campaign
from tests.ingest.conversions.test_http import ORDER, click_id
from tests.ingest.conversions.test_redis_unavailable import redis_stopped
from tests.waiting import wait_until

EMAIL = "jane.doe77@example.com"
SALE: dict[str, Any] = {**ORDER, "customer_email": EMAIL}


def sale(**fields: object) -> dict[str, Any]:
    return {**SALE, "order_id": "o1", **fields}


def stated(seconds_ago: float, **fields: object) -> dict[str, Any]:
    instant = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return sale(timestamp=instant.isoformat(), **fields)


def digests(post: ConversionPost, content: str) -> Iterator[str]:
    """Yields all that was ever stored of a post's content, in the same order for every content."""
    yield content
    order = redis_keys.order_digest(Dataset(1), post.event, post.order_id or "")
    yield blake2s(f"{order}{content}".encode(), digest_size=16).hexdigest()
    text = f"{post.event}\n{len(post.order_id or '')}\n{post.order_id}\n{content}"
    yield blake2s(text.encode(), digest_size=16).hexdigest()
    for status in ("pending", "approved", "rejected"):
        yield blake2s(f"{content} {status}".encode(), digest_size=12).hexdigest()


def unkeyed(post: ConversionPost, value_minor: int) -> dict[bytes, bytes]:
    """Returns what a former release stored, by what is stored in its place."""
    former: dict[bytes, bytes] = {}
    for minor in (value_minor, 0):
        content = content_of(post, minor, "USD")
        pair = fingerprint(content, _KEY), former_fingerprint(content)
        for new, old in zip(*(digests(post, text) for text in pair), strict=True):
            former[new.encode()] = old.encode()
    return former


_KEY = b""


@pytest.fixture(autouse=True)
def _key(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}._KEY", shop.edge.keyring.customer_key)


def of_body(body: dict[str, Any]) -> dict[bytes, bytes]:
    post = parse_post(msgspec.json.encode(body))
    return unkeyed(post, round(body["order_value"] * 100))


def of_query(query: str, value_minor: int) -> dict[bytes, bytes]:
    postback = read_postback(DIALECTS["linkjolt"], read_parameters(query.encode()))
    return unkeyed(msgspec.structs.replace(postback.post), value_minor)


async def dump(shop: Shop) -> bytes:
    """Returns all names and values in Redis."""
    parts: list[bytes] = []
    keys: list[bytes] = await call(shop.redis, "KEYS", "lj:*")
    for key in keys:
        kind = await call(shop.redis, "TYPE", key)
        readers = {b"string": ("GET",), b"stream": ("XRANGE", "-", "+")}
        command, *arguments = readers.get(kind, ("DUMP",))
        parts += [key, repr(await call(shop.redis, command, key, *arguments)).encode()]
    return b"\n".join(parts)


async def age(shop: Shop, former: dict[bytes, bytes]) -> None:
    """Rewrites what is stored of posts as a former release stored it."""
    changed = 0
    keys: list[bytes] = await call(shop.redis, "KEYS", "lj:{0}:*")
    for key in keys:
        if await call(shop.redis, "TYPE", key) != b"string":
            continue
        value: bytes = await call(shop.redis, "GET", key)
        new_key, new_value = key, value
        for new, old in former.items():
            new_key, new_value = new_key.replace(new, old), new_value.replace(new, old)
        if (new_key, new_value) != (key, value):
            await call(shop.redis, "DEL", key)
            await call(shop.redis, "SET", new_key, new_value)
            changed += 1
    assert changed


def test_a_former_fingerprint_is_the_digest_of_the_content() -> None:
    body = (
        b'{"tracking_code":"tc_ABC123","order_id":"1","order_value":5,'
        b'"customer_email":"Jane@example.com","timestamp":"2026-01-01T10:00:00Z"}'
    )
    # As it was computed before fingerprints had a key.
    assert (
        former_fingerprint(content_of(parse_post(body), 500, "USD"))
        == "b73826fc106f73b9c4faab27ea5ee34a"
    )


@pytest.mark.parametrize("duplicates", ["refuse", "update", "allow", "rebill"])
async def test_nothing_in_redis_tells_whether_a_guessed_email_is_right(
    shop: Shop, duplicates: str
) -> None:
    await change_campaign(shop, duplicates=duplicates)
    bodies = [stated(5), stated(9, order_value=5)]
    for body in bodies:
        answer = await shop.post(body, **{"Idempotency-Key": f"k{body['order_value']}"})
        assert answer.status_code in (200, 201, 409)
    postback = f"click_id={click_id(shop)}&payout=10&order_id=p1&customer_email={EMAIL}"
    for changed in ("&status=approved", "&payout=3&status=refunded"):
        query = postback.replace("&payout=10", "") + changed if "payout" in changed else postback
        answer = await shop.client.get(f"/postback?{query}&key={shop.key}")
        assert answer.status_code == 200, answer.text
    stored = await dump(shop)
    assert fingerprint(content_of(_parsed(bodies[0]), 9999, "USD"), _KEY).encode() in stored
    for former in (*map(of_body, bodies), of_query(postback, 1_000)):
        found = [old for old in former.values() if old in stored]
        assert not found


def _parsed(body: dict[str, Any]) -> ConversionPost:
    return parse_post(msgspec.json.encode(body))


def read_all(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.long
@pytest.mark.parametrize("duplicates", ["refuse", "allow"])
async def test_nothing_on_disk_tells_it_either(shop: Shop, duplicates: str) -> None:
    await change_campaign(shop, duplicates=duplicates)
    body = stated(5)
    assert await shop.edge.directory.route("tc_ABC123")
    assert (await shop.post(stated(9, order_id="warm"))).status_code == 201
    async with redis_stopped(shop.redis):
        assert (await shop.post(body)).status_code == 202
        spooled = read_all(Path(shop.edge.settings.data))
    former = of_body(body)
    assert next(iter(former)) in spooled
    assert not [old for old in former.values() if old in spooled]


async def test_a_reservation_of_a_former_release_is_of_the_same_post_only(shop: Shop) -> None:
    body = sale()
    first = await shop.post(body)
    await age(shop, of_body(body))
    again = await shop.post(body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["conversion_id"] == first.json()["conversion_id"]
    other = await shop.post(sale(customer_email="john@example.com"))
    assert other.status_code == 409
    assert len(await shop.conversions()) == 1


@pytest.mark.parametrize("duplicates", ["allow", "rebill"])
async def test_one_of_several_posts_of_a_former_release_is_known_by_its_instant(
    shop: Shop, duplicates: str
) -> None:
    await change_campaign(shop, duplicates=duplicates)
    bodies = [stated(5), stated(10), stated(15)]
    first = [(await shop.post(body)).json() for body in bodies[:2]]
    await age(shop, of_body(bodies[0]) | of_body(bodies[1]))
    answers = [await shop.post(body) for body in bodies]
    assert [answer.status_code for answer in answers] == [200, 200, 201]
    known = [answer.json()["conversion_id"] for answer in answers[:2]]
    assert known == [one["conversion_id"] for one in first]
    # Several at once, too.
    results = (await shop.post(bodies)).json()["data"]
    assert [result["status"] for result in results] == [200] * 3
    assert len(await shop.conversions()) == 3


@pytest.mark.parametrize(("value", "refused"), [(99.99, "duplicate"), (5, "conflict")])
async def test_a_spooled_repeat_of_a_former_release_is_no_other_post(
    shop: Shop, value: float, refused: str
) -> None:
    body = sale()
    assert (await shop.post(body)).status_code == 201
    await age(shop, of_body(body))
    async with redis_stopped(shop.redis):
        assert (await shop.post({**body, "order_value": value})).status_code == 202

    async def stored() -> bool:
        return len(await shop.conversions()) == 2

    await wait_until(stored)
    assert [one.refused for one in await shop.conversions()] == ["", refused]


async def test_an_idempotency_key_of_a_former_release_is_of_the_same_body_only(
    shop: Shop,
) -> None:
    once, body = {"Idempotency-Key": "k1"}, sale()
    first = await shop.post(body, **once)
    await age(shop, of_body(body))
    again = await shop.post(body, **once)
    assert (again.status_code, again.json()["conversion_id"]) == (
        200,
        first.json()["conversion_id"],
    )
    assert (await shop.post(sale(order_id="o2"), **once)).status_code == 422


async def test_a_postback_that_a_former_release_took_changes_nothing_again(shop: Shop) -> None:
    base = f"click_id={click_id(shop)}&order_id=p1&customer_email={EMAIL}"
    queries = [
        f"{base}&payout=10&status=pending",
        f"{base}&payout=12&status=approved",
        f"{base}&payout=3&status=refunded",
    ]
    for query in queries:
        answer = await shop.client.get(f"/postback?{query}&key={shop.key}")
        assert answer.status_code == 200, answer.text
    before = await shop.adjustments()
    assert {one.kind for one in before} == {"restated", "approved", "refunded"}
    await age(
        shop,
        of_query(queries[0], 1_000) | of_query(queries[1], 1_200) | of_query(queries[2], 300),
    )
    for query in queries:
        answer = await shop.client.get(f"/postback?{query}&key={shop.key}")
        assert answer.status_code == 200, answer.text
    assert await shop.adjustments() == before
