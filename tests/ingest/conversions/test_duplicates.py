"""Another post of an order follows the campaign's policy, or its Idempotency-Key."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from ingest.conversions.body import parse_post
from ingest.conversions.decision import Lookups, decide, make_conversion
from ingest.publishing.publishers import PostedConversion
from linkjolt.conversion_ids import make_conversion_id
from linkjolt.datasets import Account
from linkjolt.registry.entries import ApiKey
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.redis import RedisConnectionError
from tests.ingest.conftest import Shop
from tests.ingest.conversions.test_attribution import change_campaign
from tests.ingest.conversions.test_http import ORDER, click_id
from tests.ingest.producers import Lossy
from tests.waiting import wait_until

LEAD = {"tracking_code": "tc_ABC123", "event": "lead"}


def at_times(count: int) -> list[dict[str, object]]:
    """Makes posts of one order, each of its own instant."""
    now = datetime.now(UTC)
    instants = [(now - timedelta(seconds=number)).isoformat() for number in range(count)]
    return [{**ORDER, "timestamp": instant} for instant in instants]


async def test_where_they_are_allowed_every_post_is_a_conversion(shop: Shop) -> None:
    await change_campaign(shop, duplicates="allow")
    posts = at_times(3)
    answers = [await shop.post(post) for post in [*posts, posts[0]]]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 200]
    assert answers[3].json()["conversion_id"] == answers[0].json()["conversion_id"]
    assert [stored.order_free for stored in await shop.conversions()] == [True] * 3


@pytest.mark.parametrize("duplicates", ["allow", "rebill"])
async def test_where_another_post_is_another_conversion_a_retry_must_be_known(
    shop: Shop, duplicates: str
) -> None:
    await change_campaign(shop, duplicates=duplicates)
    refused = await shop.post(ORDER)
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["timestamp"]
    [result] = (await shop.post([ORDER])).json()["data"]
    assert (result["status"], result["errors"][0]["field"]) == (422, "timestamp")
    once = {"Idempotency-Key": "k1"}
    statuses = [(await shop.post(ORDER, **once)).status_code for _ in range(2)]
    assert statuses == [201, 200]
    # A post without an order is no other post of an order.
    assert (await shop.post(LEAD)).status_code == 201
    assert len(await shop.conversions()) == 2


@pytest.mark.parametrize("duplicates", ["allow", "rebill"])
async def test_a_postback_sent_again_is_the_same_conversion_in_every_campaign(
    shop: Shop, duplicates: str
) -> None:
    await change_campaign(shop, duplicates=duplicates)
    query = f"click_id={click_id(shop)}&payout=10&order_id=o1&key={shop.key}"
    for _ in range(2):
        assert (await shop.client.get(f"/postback?{query}")).status_code == 200
    [stored] = await shop.conversions()
    assert (stored.event, stored.order_free) == ("sale", False)


async def test_where_they_are_rebills_the_first_is_a_sale_and_the_others_rebills(
    shop: Shop,
) -> None:
    await change_campaign(shop, duplicates="rebill")
    answers = [(await shop.post(post)).json() for post in at_times(3)]
    assert [answer["event"] for answer in answers] == ["sale", "rebill", "rebill"]
    assert [answer["commission_amount"] for answer in answers] == [29.99] * 3
    stored = await shop.conversions()
    assert [(conversion.event, conversion.order_free) for conversion in stored] == [
        ("sale", False),
        ("rebill", True),
        ("rebill", True),
    ]
    for answer in answers:
        read = (await shop.get(f"/v1/conversions/{answer['conversion_id']}")).json()
        assert read["event"] == answer["event"]


async def test_a_rebill_of_the_same_instant_is_the_same_rebill(shop: Shop) -> None:
    await change_campaign(shop, duplicates="rebill")
    first, second, third = at_times(3)
    posts = [first, second, second, third]
    answers = await asyncio.gather(*(shop.post(post) for post in posts))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 200: 1}
    assert answers[2].json()["conversion_id"] == answers[1].json()["conversion_id"]
    assert len(await shop.conversions()) == 3


@pytest.mark.parametrize("executed", [True, False])
async def test_a_rebill_whose_reply_is_lost_counts_once(shop: Shop, executed: bool) -> None:
    await change_campaign(shop, duplicates="rebill")
    first, second = at_times(2)
    await shop.post(first)
    producer = shop.edge.conversion_publishers[0].producer
    producer.publish = Lossy(producer.publish, 1, executed=executed)
    queued = await shop.post(second)
    assert queued.status_code == 202
    await wait_until(lambda: producer.spooled_events == 0)
    stored = await shop.conversions()
    assert [(conversion.event, conversion.refused) for conversion in stored] == [
        ("sale", ""),
        ("rebill", ""),
    ]
    path = f"/v1/conversions/{queued.json()['conversion_id']}"
    assert (await shop.get(path)).json()["event"] == "rebill"


async def test_where_they_update_a_later_post_restates_the_first(shop: Shop) -> None:
    await change_campaign(shop, duplicates="update")
    first = (await shop.post(ORDER)).json()
    later = await shop.post({**ORDER, "order_value": 50, "status": "approved"})
    assert later.status_code == 200
    body = later.json()
    assert body["conversion_id"] == first["conversion_id"]
    assert (body["order_value"], body["commission_amount"]) == (50.0, 15.0)
    assert (body["status"], body["duplicate"]) == ("approved", True)
    again = (await shop.post({**ORDER, "order_value": 50, "status": "approved"})).json()
    assert again == body
    assert [fact.kind for fact in await shop.adjustments()] == ["restated", "approved"]
    back = (await shop.post(ORDER)).json()
    assert back["order_value"] == 99.99
    other = await shop.post({**ORDER, "currency": "EUR"})
    assert (other.status_code, other.json()["errors"][0]["field"]) == (409, "currency")


async def test_a_key_makes_one_conversion_of_many_posts_at_once(shop: Shop) -> None:
    once = {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(*(shop.post(LEAD, **once) for _ in range(30)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 29}
    assert len({answer.json()["conversion_id"] for answer in answers}) == 1
    assert len(await shop.conversions()) == 1
    again = await shop.post(LEAD, **once)
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert (await shop.post(LEAD, **{"Idempotency-Key": "k2"})).status_code == 201


async def test_a_key_used_for_another_body_is_refused_and_nothing_changes(shop: Shop) -> None:
    once = {"Idempotency-Key": "k1"}
    assert (await shop.post(ORDER, **once)).status_code == 201
    other = await shop.post({**ORDER, "order_id": "other"}, **once)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await shop.conversions()) == 1


async def test_a_key_goes_with_one_conversion_only(shop: Shop) -> None:
    answer = await shop.post([ORDER], **{"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    long = await shop.post(ORDER, **{"Idempotency-Key": "k" * 256})
    assert long.status_code == 422
    assert await shop.conversions() == []


async def test_a_claim_that_came_to_nothing_is_taken_up_under_its_id(shop: Shop) -> None:
    publisher = shop.edge.conversion_publishers[0]
    add = publisher.add

    def lose(posted: PostedConversion) -> tuple[asyncio.Future[list[bytes] | None], int]:
        raise RedisConnectionError("killed before it published")

    publisher.add = lose
    once = {"Idempotency-Key": "k1"}
    assert (await shop.post(LEAD, **once)).status_code == 503
    publisher.add = add
    first = await shop.post(LEAD, **once)
    assert first.status_code == 201
    again = await shop.post(LEAD, **once)
    assert again.status_code == 200
    assert again.json()["conversion_id"] == first.json()["conversion_id"]
    assert len(await shop.conversions()) == 1


async def test_a_conversion_under_an_id_that_it_had_goes_to_the_shard_of_that_id(
    shop: Shop,
) -> None:
    route = await shop.edge.directory.route("tc_ABC123")
    key = await shop.registry.get(ApiKey, Account(1), 1)
    post = parse_post(msgspec.json.encode(LEAD))
    decision = decide(post, key, Lookups((), route, None), 1_736_937_000_000, b"k")
    for shard in range(8):
        had = make_conversion_id(shard, 1_736_937_000_000)
        posted = make_conversion(decision, Settings(shards=8), 1_736_937_000_000, had)
        assert (posted.shard, posted.conversion.conversion_id) == (shard, had)
