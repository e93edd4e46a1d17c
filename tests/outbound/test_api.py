"""Webhooks are created, read and changed over HTTP; deliveries are listed, resent and replayed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from linkjolt.datasets import Account, live_dataset
from linkjolt.reasons import Reason
from linkjolt.registry.entries import Webhook, WebhookSecret
from linkjolt.registry.sealed.entries import open_webhook
from linkjolt.storage.redis import call
from linkjolt.storage.sealing import is_sealed
from linkjolt.webhooks.forms import rotated
from linkjolt.webhooks.queue import Delivery, DeliveryQueue
from tests.linkjolt.api.client import Api, serving
from tests.sealers import any_sealer

HOOK: dict[str, Any] = {"url": "https://shop.example/hook", "events": ["conversion.created"]}
ONE = "/v1/webhooks/whk_1"


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        yield api


async def test_a_webhook_shows_its_secret_once(api: Api) -> None:
    made = await api.post("/v1/webhooks", HOOK)
    assert made.pop("secret").startswith("whsec_")
    assert made.pop("created_at").endswith("Z")
    assert made == HOOK | {
        "id": "whk_1",
        "filter": {"campaign_id": [], "affiliate_id": [], "min_value": None},
        "status": "active",
        "disabled_reason": None,
    }
    for path in (ONE, "/v1/webhooks"):
        assert "secret" not in (await api.send("GET", path)).text


async def test_a_webhook_is_changed_and_deleted(api: Api) -> None:
    await api.post("/v1/campaigns", {"name": "C", "currency": "USD", "commission": RULE})
    await api.post("/v1/webhooks", HOOK)
    wanted = {"campaign_id": ["cmp_1"], "affiliate_id": [], "min_value": 10}
    patch = {"filter": wanted, "events": ["conversion.refunded"], "status": "disabled"}
    changed = (await api.send("PATCH", ONE, patch)).json()
    assert {name: changed[name] for name in patch} == patch
    assert (await api.send("DELETE", ONE)).status_code == 204
    assert (await api.send("GET", f"{ONE}/deliveries")).status_code == 404


async def test_an_account_cannot_have_more_webhooks_than_its_bound(api: Api) -> None:
    for _ in range(100):
        await api.post("/v1/webhooks", HOOK)
    assert (await api.refused("POST", "/v1/webhooks", HOOK))[:2] == (409, "limit_reached")
    assert (await api.send("DELETE", ONE)).status_code == 204
    await api.post("/v1/webhooks", HOOK)


async def test_a_deleted_webhook_leaves_nothing_though_no_process_delivers(
    api: Api, redis: Redis
) -> None:
    await api.post("/v1/webhooks", HOOK)
    await api.send("POST", f"{ONE}/test")
    await api.send("POST", f"{ONE}/test")
    queue, now_ms = DeliveryQueue(redis), int(datetime.now(UTC).timestamp() * 1000)
    [claimed] = await queue.claim(1, now_ms, 1)
    await queue.record(1, [(claimed, claimed.delivery, 0)])
    assert await call(redis, "KEYS", "lj:{w:1}:*")
    assert (await api.send("DELETE", ONE)).status_code == 204
    assert await call(redis, "KEYS", "lj:{w:1}:*") == []


RULE = {"kind": "percentage", "rate": 1}
REFUSED: list[tuple[dict[str, Any], Reason, str]] = [
    ({"url": "https://127.0.0.1/"}, Reason.target_refused, "url"),
    ({"url": "http://shop.example/"}, Reason.target_refused, "url"),
    ({"url": "shop"}, Reason.invalid_field, "url"),
    ({"events": []}, Reason.invalid_field, "events"),
    ({"events": ["sale"]}, Reason.invalid_field, "events[0]"),
    ({"events": ["test"]}, Reason.invalid_field, "events[0]"),
    ({"filter": {"campaign_id": ["cmp_9"]}}, Reason.unknown_reference, "campaign_id"),
    ({"filter": {"affiliate_id": ["x"]}}, Reason.unknown_reference, "affiliate_id"),
    ({"filter": {"min_value": -1}}, Reason.invalid_field, "filter.min_value"),
    ({"filter": {"country": "US"}}, Reason.unknown_field, "filter.country"),
    ({"secret": "mine"}, Reason.unknown_field, "secret"),
]


@pytest.mark.parametrize(("change", "reason", "field"), REFUSED)
async def test_a_bad_webhook_is_refused_by_its_field(
    api: Api, change: dict[str, Any], reason: Reason, field: str
) -> None:
    assert (await api.refused("POST", "/v1/webhooks", HOOK | change))[1:] == (reason, [field])
    await api.post("/v1/webhooks", HOOK)
    if field != "secret":
        assert (await api.refused("PATCH", ONE, change))[1:] == (reason, [field])


async def opened(api: Api) -> Webhook:
    """Reads the endpoint, whose secrets are stored sealed, with them opened."""
    webhook = await api.registry.get(Webhook, Account(1), 1)
    assert all(is_sealed(one.secret) for one in webhook.secrets)
    return open_webhook(webhook, any_sealer())


async def test_a_rotated_secret_is_shown_once_and_the_former_one_stays_a_while(api: Api) -> None:
    first = (await api.post("/v1/webhooks", HOOK))["secret"]
    answer = await api.send("POST", f"{ONE}/rotate", {"overlap_seconds": 60})
    second = answer.json()["secret"]
    webhook = await opened(api)
    assert [secret.secret for secret in webhook.secrets] == [second, first]
    until = webhook.secrets[1].expires_at
    assert until is not None
    assert timedelta(0) < until - datetime.now(UTC) <= timedelta(seconds=60)


async def test_every_secret_stays_as_long_as_was_promised_and_their_number_is_bounded(
    api: Api,
) -> None:
    made = [(await api.post("/v1/webhooks", HOOK))["secret"]]
    for overlap in (86_400, 60, 3_600, 7_200):
        answer = await api.send("POST", f"{ONE}/rotate", {"overlap_seconds": overlap})
        made.insert(0, answer.json()["secret"])
    valid = (await opened(api)).secrets
    assert [one.secret for one in valid] == made
    seconds = [
        (one.expires_at - datetime.now(UTC)).total_seconds() for one in valid if one.expires_at
    ]
    assert seconds == [pytest.approx(promised, abs=30) for promised in (7_200, 3_600, 60, 86_400)]
    status, reason, fields = await api.refused("POST", f"{ONE}/rotate", {"overlap_seconds": 1})
    assert (status, reason, fields) == (422, Reason.invalid_field, ["overlap_seconds"])
    assert (await opened(api)).secrets == valid
    answer = await api.send("POST", f"{ONE}/rotate", {"overlap_seconds": 0})
    kept = (await opened(api)).secrets
    assert [one.secret for one in kept] == [answer.json()["secret"], *made[1:]]


def test_secrets_that_have_expired_make_room() -> None:
    now = datetime(2026, 5, 4, 10, tzinfo=UTC)
    webhook = Webhook(
        number=1,
        account=live_dataset(Account(1)),
        url="https://shop.example/",
        events=("conversion.created",),
        secrets=(WebhookSecret("first"),),
        created_at=now,
    )
    for hour in range(20):
        webhook = rotated(webhook, now + timedelta(hours=hour), 3 * 3_600)
        later = now + timedelta(hours=hour)
        assert all(one.expires_at > later for one in webhook.secrets if one.expires_at)
        assert len(webhook.secrets) == min(hour + 2, 4)


async def test_a_test_key_sees_its_own_webhooks_only(api: Api) -> None:
    await api.post("/v1/webhooks", HOOK)
    made = await api.post("/v1/keys", {"name": "t", "scopes": ["webhooks:write"], "test": True})
    api.client.headers["Authorization"] = f"Bearer {made['key']}"
    assert (await api.get("/v1/webhooks"))["data"] == []
    assert (await api.send("GET", ONE)).status_code == 404
    await api.post("/v1/webhooks", HOOK)
    assert len((await api.get("/v1/webhooks"))["data"]) == 1


async def test_every_route_of_webhooks_wants_its_scope(api: Api) -> None:
    await api.use_key("links:write", "conversions:write", "keys:write")
    for method, path in (
        ("GET", "/v1/webhooks"),
        ("POST", "/v1/webhooks"),
        ("GET", f"{ONE}/deliveries"),
        ("POST", f"{ONE}/deliveries/msg_1/resend"),
        ("POST", f"{ONE}/replay"),
        ("POST", f"{ONE}/test"),
        ("POST", f"{ONE}/rotate"),
    ):
        assert (await api.send(method, path, {})).status_code == 403


async def test_deliveries_are_listed_by_pages_and_sent_again(api: Api, redis: Redis) -> None:
    await api.post("/v1/webhooks", HOOK)
    queue, at_ms = DeliveryQueue(redis), 1_700_000_000_000
    for number in range(5):
        one = Delivery(
            webhook_id=f"msg_{number}",
            event="conversion.created",
            body="{}",
            event_ms=at_ms + number * 1_000,
        )
        await queue.enqueue([(1, one)], at_ms)
    first = await api.get(f"{ONE}/deliveries?limit=3")
    rest = await api.get(f"{ONE}/deliveries?limit=3&cursor={first['next_cursor']}")
    found = [one["webhook_id"] for one in (*first["data"], *rest["data"])]
    assert (found, rest["next_cursor"]) == (["msg_4", "msg_3", "msg_2", "msg_1", "msg_0"], None)
    claimed = await queue.claim(1, at_ms, 10)
    done = [(one, one.delivery, 0) for one in claimed]
    await queue.record(1, done)
    assert await queue.next_due_ms([1]) == {}
    body = {"from": "2023-11-14T22:13:21Z", "to": "2023-11-14T22:13:23Z"}
    answer = await api.send("POST", f"{ONE}/replay", body)
    assert (answer.status_code, answer.json()) == (202, {"queued": 2})
    again = await queue.claim(1, int(datetime.now(UTC).timestamp() * 1000), 10)
    assert sorted(one.delivery.webhook_id for one in again) == ["msg_1", "msg_2"]
    assert (await api.send("POST", f"{ONE}/deliveries/msg_4/resend")).status_code == 202
    assert (await api.send("POST", f"{ONE}/deliveries/msg_9/resend")).status_code == 404
    swapped = {"from": body["to"], "to": body["from"]}
    assert (await api.refused("POST", f"{ONE}/replay", swapped))[2] == ["to"]


async def test_a_test_is_queued_and_shown(api: Api, redis: Redis) -> None:
    await api.post("/v1/webhooks", HOOK)
    answer = await api.send("POST", f"{ONE}/test")
    assert (answer.status_code, answer.json()["event"]) == (202, "test")
    [claimed] = await DeliveryQueue(redis).claim(1, int(datetime.now(UTC).timestamp() * 1000), 10)
    assert claimed.delivery.webhook_id == answer.json()["webhook_id"]
