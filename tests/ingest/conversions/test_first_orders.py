"""A rule for first orders pays one sale of each customer, whoever posts it and however often."""

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from ingest.app import create_app, open_edge
from linkjolt import redis_keys
from linkjolt.datasets import live_dataset
from linkjolt.money import Flat
from linkjolt.registry.entries import Affiliate
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.redis import call
from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_attribution import change_campaign

EMAIL, ID = {"customer_email": "ann@shop.example"}, {"customer_id": "c1"}


@pytest.fixture
async def first(shop: Shop) -> Shop:
    """A shop whose campaign pays 10 for a customer's first order."""
    await change_campaign(shop, commission=Flat(Decimal(10), first_order_only=True))
    return shop


async def sale(shop: Shop, order: str, **fields: object) -> tuple[float, str | None]:
    """Posts a sale that must be accepted; returns its commission and the reason for that."""
    answer = await shop.post(order_of(order, **fields))
    assert answer.status_code == 201, answer.text
    return answer.json()["commission_amount"], answer.json()["commission_reason"]


def order_of(order: str, **fields: object) -> dict[str, object]:
    return {"tracking_code": "tc_ABC123", "order_id": order, "order_value": 100, **fields}


PAID, NOT_FIRST = (10.0, None), (0.0, "not_first_order")


async def test_a_sign_up_or_a_lead_is_no_order(first: Shop) -> None:
    for event in ("signup", "lead"):
        earlier = {"tracking_code": "tc_ABC123", "event": event, **EMAIL}
        answer = (await first.post(earlier)).json()
        assert (answer["commission_amount"], answer["commission_reason"]) == NOT_FIRST
    assert await sale(first, "o1", **EMAIL) == PAID
    assert await sale(first, "o2", **EMAIL) == NOT_FIRST


async def test_a_rebill_is_no_first_order(first: Shop) -> None:
    assert await sale(first, "o1", event="rebill", **EMAIL) == NOT_FIRST
    assert await sale(first, "o2", **EMAIL) == PAID


async def test_the_rebill_that_a_campaign_makes_of_another_post_is_no_first_order(
    first: Shop,
) -> None:
    await change_campaign(first, duplicates="rebill")
    assert await sale(first, "o1", timestamp="2026-01-01T00:00:00Z", **EMAIL) == PAID
    again = await first.post(order_of("o1", timestamp="2026-02-01T00:00:00Z", **EMAIL))
    assert (again.status_code, again.json()["event"]) == (201, "rebill")
    assert again.json()["commission_reason"] == "not_first_order"
    assert await sale(first, "o2", timestamp="2026-02-01T00:00:00Z", **EMAIL) == NOT_FIRST


async def test_a_post_that_is_refused_leaves_no_claim(first: Shop) -> None:
    others = {"customer_email": "pat@shop.example"}
    assert await sale(first, "o1", **others) == PAID
    conflict = await first.post(order_of("o1", **EMAIL, **ID))
    assert conflict.status_code == 409
    keys = await call(first.redis, "KEYS", redis_keys.customer(0, "*"))
    assert len(keys) == 1
    assert await sale(first, "o2", **EMAIL) == PAID
    assert await sale(first, "o3", **others) == NOT_FIRST


async def test_a_refused_post_of_the_same_order_and_customer_leaves_the_claim(first: Shop) -> None:
    assert await sale(first, "o1", **EMAIL) == PAID
    assert (await first.post(order_of("o1", order_value=5, **EMAIL))).status_code == 409
    assert await sale(first, "o2", **EMAIL) == NOT_FIRST


@pytest.mark.parametrize(
    ("customers", "paid"),
    [
        ([ID, {**ID, **EMAIL}, {**ID, "customer_email": "other@shop.example"}], [0]),
        ([ID, {**ID, **EMAIL}, EMAIL], [0]),
        ([{**ID, **EMAIL}, ID, EMAIL], [0]),
        ([{**ID, **EMAIL}, {"customer_id": "c2", **EMAIL}, EMAIL], [0, 1]),
        ([EMAIL, {"customer_email": " ANN@shop.example "}], [0]),
    ],
)
async def test_an_id_beats_an_e_mail_address_and_both_are_claimed(
    first: Shop, customers: list[dict[str, str]], paid: list[int]
) -> None:
    answers = [await sale(first, f"o{n}", **one) for n, one in enumerate(customers)]
    expected = [PAID if n in paid else NOT_FIRST for n in range(len(customers))]
    assert answers == expected


async def test_the_claim_of_a_rejected_order_is_given_back(first: Shop) -> None:
    answer = (await first.post(order_of("o1", **EMAIL, **ID))).json()
    path = f"/v1/conversions/{answer['conversion_id']}/adjustments"
    body = {"kind": "reject", "adjustment_id": "r1", "reason": "fraud"}
    assert (await first.post(body, path=path)).status_code == 201
    assert await sale(first, "o2", **EMAIL) == PAID
    assert await sale(first, "o3", **EMAIL) == NOT_FIRST
    assert await sale(first, "o4", **ID) == PAID


async def test_the_first_order_sent_again_is_still_the_first(first: Shop) -> None:
    before = (await first.post(order_of("o1", **EMAIL, **ID))).json()
    after = (await first.post(order_of("o1", **EMAIL, **ID))).json()
    assert after == {**before, "duplicate": True}
    assert (await first.get(f"/v1/conversions/{before['conversion_id']}")).json()[
        "commission_reason"
    ] is None
    assert await sale(first, "o2", **EMAIL) == NOT_FIRST


async def test_an_order_under_an_idempotency_key_claims_once_and_its_repeat_nothing(
    first: Shop,
) -> None:
    once = {"Idempotency-Key": "k1"}
    posts = [await first.post(order_of("o1", **EMAIL), **once) for _ in range(2)]
    assert [(post.status_code, post.json()["commission_amount"]) for post in posts] == [
        (201, 10.0),
        (200, 10.0),
    ]
    reused = await first.post(order_of("o2", customer_id="c2"), **once)
    assert reused.json()["code"] == "idempotency_key_reused"
    assert await sale(first, "o3", **EMAIL) == NOT_FIRST
    assert await sale(first, "o4", customer_id="c2") == PAID


async def test_of_two_first_orders_in_one_body_one_is_paid(first: Shop) -> None:
    began = time.monotonic()
    answer = await first.post([order_of(f"o{n}", **EMAIL) for n in range(5)])
    results = [one["conversion"]["commission_amount"] for one in answer.json()["data"]]
    assert results == [10.0, 0.0, 0.0, 0.0, 0.0]
    assert time.monotonic() - began < 1


@pytest.fixture
async def other_edge(
    redis_server: RedisServer, tmp_path: Path
) -> AsyncIterator[httpx2.AsyncClient]:
    data = str(tmp_path / "other")
    settings = Settings(
        redis_url=redis_server.url,
        data=data,
        secret_key_file=str(tmp_path / "secret.key"),
        redis_timeout_seconds=5,
    )
    async with open_edge(settings, asyncio.Event()) as edge:
        transport = httpx2.ASGITransport(app=create_app(edge))
        async with httpx2.AsyncClient(transport=transport, base_url="http://other") as client:
            yield client


async def test_of_orders_posted_to_two_edges_at_once_exactly_one_is_paid(
    first: Shop, other_edge: httpx2.AsyncClient
) -> None:
    headers = {"Authorization": f"Bearer {first.key}"}
    for customer in range(10):
        who = {"customer_id": f"c{customer}", "customer_email": f"c{customer}@shop.example"}
        posts = [
            client.post("/v1/conversions", json=order_of(f"{customer}-{n}", **who), headers=headers)
            for n, client in enumerate([first.client, other_edge] * 3)
        ]
        answers = await asyncio.gather(*posts)
        assert {answer.status_code for answer in answers} == {201}
        paid = [answer.json()["commission_amount"] for answer in answers]
        assert sorted(paid) == [0, 0, 0, 0, 0, 10]


async def test_a_refused_order_and_a_real_one_at_once_pay_the_real_one(
    first: Shop, other_edge: httpx2.AsyncClient
) -> None:
    headers = {"Authorization": f"Bearer {first.key}"}
    for number in range(10):
        taken, who = f"taken-{number}", {"customer_id": f"c{number}"}
        await sale(first, taken, customer_id=f"other-{number}")
        refused, real = await asyncio.gather(
            first.post(order_of(taken, **who)),
            other_edge.post(
                "/v1/conversions", json=order_of(f"real-{number}", **who), headers=headers
            ),
        )
        assert (refused.status_code, real.status_code) == (409, 201)
        assert real.json()["commission_amount"] == 10


async def test_a_networks_claim_never_takes_a_first_order_from_the_merchant(first: Shop) -> None:
    network = await make_key(first.registry, ["conversions:write"], campaign=first.link.campaign)

    async def by_network(order: str) -> tuple[float, str | None]:
        answer = (await first.post(order_of(order, **ID, **EMAIL), network)).json()
        return answer["commission_amount"], answer["commission_reason"]

    assert [await by_network("n1"), await by_network("n2")] == [PAID, NOT_FIRST]
    assert await sale(first, "o1", **ID, **EMAIL) == PAID
    assert await sale(first, "o2", **EMAIL) == NOT_FIRST
    assert await by_network("n3") == NOT_FIRST


async def test_a_claim_whose_order_was_never_stored_is_replaced(first: Shop) -> None:
    await sale(first, "o1", **ID)
    [key] = await call(first.redis, "KEYS", redis_keys.customer(0, "*"))
    long_ago = time.time_ns() // 1_000_000 - 90_000
    digest = redis_keys.order_digest(live_dataset(first.link.account), "sale", "lost")
    lost = f"{digest} {long_ago} conv_01M836R6CD00095G84DAX9N75Y 1 1 1"
    await call(first.redis, "SET", key, lost)
    assert await sale(first, "o2", **ID) == PAID


async def test_a_claim_of_an_earlier_release_counts_unless_a_lead_made_it(first: Shop) -> None:
    answer = (await first.post(order_of("o1", **ID))).json()
    assert answer["commission_amount"] == 10
    lead = {"tracking_code": "tc_ABC123", "event": "lead", "order_id": "l1"}
    assert (await first.post(lead)).status_code == 201
    [key] = await call(first.redis, "KEYS", redis_keys.customer(0, "*"))
    dataset, now_ms = live_dataset(first.link.account), time.time_ns() // 1_000_000
    for event, order, expected in (("sale", "o1", NOT_FIRST), ("lead", "l1", PAID)):
        digest = redis_keys.order_digest(dataset, event, order)
        await call(first.redis, "SET", key, f"{digest} {now_ms}")
        assert await sale(first, f"after-{order}", **ID) == expected


async def test_an_order_that_earns_nothing_claims_nothing(first: Shop) -> None:
    other = await first.registry.create(
        Affiliate(
            number=0,
            account=first.link.account,
            name="Bo",
            created_at=first.link.created_at,
            suspended_at=first.link.created_at,
        )
    )
    link = await first.add_link(affiliate=other.number)
    assert await sale(first, "o1", tracking_code=link.tracking_code, **ID) == (
        0.0,
        "affiliate_suspended",
    )
    assert await sale(first, "o2", **ID) == PAID
