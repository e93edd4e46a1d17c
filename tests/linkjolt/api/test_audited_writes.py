"""Every write of the API leaves one audit entry, with nothing secret or personal in it."""

from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.api.resources import operations
from linkjolt.audit_log.entries import AuditEntry, mask
from linkjolt.registry.keyring import load_keyring, rotate_click_key
from linkjolt.storage.redis import read_stream
from tests.linkjolt.api.client import Api, serving
from tests.sealers import any_sealer

_LINK = {"campaign_id": "cmp_1", "affiliate_id": "aff_1"}
_EMAIL, _TOKEN, _PATH = "jane.doe@mail.example", "tok-9f2c55aa", "T0AB/B0CD/sEcReTpAtH"
_COMMISSION = {"kind": "percentage", "rate": 30}
_CAMPAIGN = {"name": f"For {_EMAIL}", "currency": "USD", "commission": _COMMISSION}
_RULE = {"affiliate_id": "aff_1", "commission": {"kind": "flat", "amount": 5}}
_RATE = {"from": "EUR", "to": "USD", "rate": 1.1, "valid_from": "2020-01-01T00:00:00Z"}
_HOOK = {"url": f"https://93.184.215.14/{_PATH}", "events": ["conversion.created"]}
_RANGE = {"from": "2026-05-04T10:00:00Z", "to": "2026-05-04T11:00:00Z"}
_USER = {"name": "Ann Doe", "email": f"x{_EMAIL}", "role": "viewer"}
_CLIENT = {"name": "App", "scopes": ["links:read"]}
# In an order in which each finds what it needs.
WRITES: list[tuple[str, str, str, Any, str]] = [
    ("createCampaign", "POST", "/v1/campaigns", _CAMPAIGN, "cmp_1"),
    ("updateCampaign", "PATCH", "/v1/campaigns/cmp_1", {"window_days": 60}, "cmp_1"),
    ("createAffiliate", "POST", "/v1/affiliates", {"name": "Ann", "email": _EMAIL}, "aff_1"),
    ("updateAffiliate", "PATCH", "/v1/affiliates/aff_1", {"email": f"x{_EMAIL}"}, "aff_1"),
    ("createCommissionRule", "POST", "/v1/campaigns/cmp_1/commissions", _RULE, "cmp_1"),
    (
        "createLink",
        "POST",
        "/v1/links",
        {**_LINK, "destination": f"https://shop.example/?token={_TOKEN}&mail={_EMAIL}"},
        "lnk_1",
    ),
    ("updateLink", "PATCH", "/v1/links/lnk_1", {"status": "disabled"}, "lnk_1"),
    (
        "createLinksInBulk",
        "POST",
        "/v1/links/bulk",
        {"links": [{**_LINK, "destination": "https://shop.example/"}]},
        "lnk_2",
    ),
    ("deleteLink", "DELETE", "/v1/links/lnk_1", None, "lnk_1"),
    ("createCoupon", "POST", "/v1/coupons", {**_LINK, "code": "SPRING"}, "cpn_1"),
    ("createAffiliate", "POST", "/v1/affiliates", {"name": "Bea"}, "aff_2"),
    ("updateCoupon", "PATCH", "/v1/coupons/cpn_1", {"affiliate_id": "aff_2"}, "cpn_1"),
    ("deleteCoupon", "DELETE", "/v1/coupons/cpn_1", None, "cpn_1"),
    ("createRate", "POST", "/v1/rates", _RATE, "rate_1"),
    ("deleteRate", "DELETE", "/v1/rates/rate_1", None, "rate_1"),
    ("createApiKey", "POST", "/v1/keys", {"name": "Shop", "scopes": ["links:read"]}, "key_2"),
    ("updateApiKey", "PATCH", "/v1/keys/key_2", {"name": "Store"}, "key_2"),
    ("makeSigningSecret", "POST", "/v1/keys/key_2/signing-secret", None, "key_2"),
    ("rotateApiKey", "POST", "/v1/keys/key_2/rotate", {"overlap_seconds": 60}, "key_2"),
    ("deleteApiKey", "DELETE", "/v1/keys/key_2", None, "key_2"),
    ("createOauthClient", "POST", "/v1/oauth-clients", _CLIENT, "client_3"),
    ("updateOauthClient", "PATCH", "/v1/oauth-clients/client_3", {"name": "B"}, "client_3"),
    ("deleteOauthClient", "DELETE", "/v1/oauth-clients/client_3", None, "client_3"),
    ("createErasure", "POST", "/v1/privacy/erasures", {"customer_email": _EMAIL}, "prv_1"),
    ("createExport", "POST", "/v1/privacy/exports", {"customer_id": "c-17"}, "prv_2"),
    ("createWebhook", "POST", "/v1/webhooks", _HOOK, "whk_1"),
    ("updateWebhook", "PATCH", "/v1/webhooks/whk_1", {"url": f"{_HOOK['url']}2"}, "whk_1"),
    ("rotateWebhookSecret", "POST", "/v1/webhooks/whk_1/rotate", {}, "whk_1"),
    ("testWebhook", "POST", "/v1/webhooks/whk_1/test", None, "whk_1"),
    ("resendDelivery", "POST", "/v1/webhooks/whk_1/deliveries/{sent}/resend", None, "whk_1"),
    ("replayDeliveries", "POST", "/v1/webhooks/whk_1/replay", _RANGE, "whk_1"),
    ("deleteWebhook", "DELETE", "/v1/webhooks/whk_1", None, "whk_1"),
    ("createUser", "POST", "/v1/users", _USER, "usr_1"),
    ("updateUser", "PATCH", "/v1/users/usr_1", {"role": "finance"}, "usr_1"),
    ("makeUserLink", "POST", "/v1/users/usr_1/link", {}, "usr_1"),
    ("deleteUser", "DELETE", "/v1/users/usr_1", None, "usr_1"),
    ("deleteAffiliate", "DELETE", "/v1/affiliates/aff_1", None, "aff_1"),
    ("deleteCampaign", "DELETE", "/v1/campaigns/cmp_1", None, "cmp_1"),
]
# It reads.
_OTHERS = {"previewLink"}


async def _entries(redis: Redis) -> list[AuditEntry]:
    read = await read_stream(redis, redis_keys.AUDIT_REGISTRY, "-")
    return [msgspec.json.decode(fields[b"e"], type=AuditEntry) for _, fields in read]


async def test_every_write_leaves_an_entry_and_no_secret(redis: Redis) -> None:
    answers: list[str] = []
    async with serving(redis) as api:
        [made_key] = await _entries(redis)
        request_ids = [await _send(api, answers, *write[1:4]) for write in WRITES]
        own_secret = api.client.headers["Authorization"].split()[-1]
    found = (await _entries(redis))[1:]
    expected = [(operation, identity) for operation, *_, identity in WRITES]
    assert [(one.operation, one.object) for one in found] == expected
    assert [one.request_id for one in found] == request_ids
    assert {(one.actor, one.actor_name) for one in found} == {("key_1", "test")}
    assert made_key.actor == "system"
    written = msgspec.json.encode(found).decode()
    secrets = [value for text in answers for value in _secrets_in(msgspec.json.decode(text))]
    assert len(secrets) >= 5
    for planted in (_EMAIL, _TOKEN, _PATH, own_secret, *secrets):
        assert planted not in written
    # The table is whole: a new write without an entry would be noticed.
    writing = {o.id for o in operations() if o.method != "GET"} - {name for name, *_ in WRITES}
    assert writing <= _OTHERS, writing


async def _send(api: Api, answers: list[str], method: str, path: str, body: object) -> str:
    if "{sent}" in path:
        path = path.format(sent=msgspec.json.decode(answers[-1])["webhook_id"])
    response = await api.send(method, path, body)
    assert response.status_code < 300, response.text
    if response.content:
        answers.append(response.text)
    return response.headers["x-request-id"]


def _secrets_in(answer: dict[str, str]) -> list[str]:
    return [
        answer[name]
        for name in ("key", "signing_secret", "secret", "client_secret", "link")
        if name in answer
    ]


async def test_a_hidden_field_says_that_it_changed(redis: Redis) -> None:
    async with serving(redis) as api:
        await api.post("/v1/affiliates", {"name": "Ann", "email": _EMAIL})
        await api.send("PATCH", "/v1/affiliates/aff_1", {"email": f"x{_EMAIL}", "name": "Bea"})
    created, changed = (await _entries(redis))[-2:]
    assert msgspec.json.decode(created.changes) == {"name": {"before": None, "after": "Ann"}}
    assert msgspec.json.decode(changed.changes) == {
        "name": {"before": "Ann", "after": "Bea"},
        "email": {"before": "[hidden]", "after": "[hidden]"},
    }


async def test_rotating_the_click_key_is_recorded_without_it(redis: Redis) -> None:
    sealer = any_sealer()
    await load_keyring(redis, sealer)
    await rotate_click_key(redis, sealer)
    [entry] = await _entries(redis)
    hidden = {"before": None, "after": "[hidden]"}
    assert msgspec.json.decode(entry.changes) == {"click:2": hidden}
    keyring = await load_keyring(redis, sealer)
    encoded = msgspec.json.encode(entry)
    assert not [
        key for key in keyring.click_keys if key in encoded or key.hex().encode() in encoded
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ann", "Ann"),
        ("mail Ann.B+c@mail.shop.example now", "mail [hidden] now"),
        ("https://x.example/?m=a%40b.example", "https://x.example/?m=[hidden]"),
        ("https://x.example/?api_key=1&b=2", "https://x.example/?api_key=[hidden]&b=2"),
        ("https://medium.example/@ann/post", "https://medium.example/@ann/post"),
        ("a" * 301, "a" * 299 + "…"),
    ],
)
def test_texts_are_masked(text: str, shown: str) -> None:
    assert mask(text) == shown
