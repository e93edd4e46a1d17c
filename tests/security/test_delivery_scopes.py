"""Deliveries show events, so whoever lists or sends them again needs the scope of events."""

import pytest

from linkjolt.web.openapi import Operation
from linkjolt.webhooks.deliveries.api import OPERATIONS
from tests.linkjolt.api.client import Api
from tests.security.registry_api import api

__all__ = ["api"]
FORM = {"url": "https://hooks.shop.example/", "events": ["conversion.created"]}
SHOWING = [one for one in OPERATIONS if one.id != "testWebhook"]


def path_of(one: Operation) -> str:
    return one.path.replace("{id}", "whk_1").replace("{webhook_id}", "msg_1")


@pytest.mark.parametrize("one", SHOWING, ids=lambda one: one.id)
@pytest.mark.parametrize(
    ("scopes", "missing"),
    [
        (["webhooks:write"], "events:read"),
        (["events:read"], "webhooks:write"),
        (["webhooks:write", "reports:read"], "events:read"),
    ],
)
async def test_deliveries_need_both_scopes(
    api: Api, one: Operation, scopes: list[str], missing: str
) -> None:
    await api.post("/v1/webhooks", FORM)
    await api.use_key(*scopes)
    answer = await api.send(one.method, path_of(one), {})
    assert answer.status_code == 403
    assert f"lacks the scope {missing}" in answer.json()["detail"]


@pytest.mark.parametrize("scopes", [["webhooks:write", "events:read"], ["admin"]])
async def test_both_scopes_reach_deliveries(api: Api, scopes: list[str]) -> None:
    await api.post("/v1/webhooks", FORM)
    await api.use_key(*scopes)
    assert (await api.get("/v1/webhooks/whk_1/deliveries"))["data"] == []


async def test_an_endpoint_is_tested_without_the_scope_of_events(api: Api) -> None:
    await api.post("/v1/webhooks", FORM)
    await api.use_key("webhooks:write")
    assert (await api.send("POST", "/v1/webhooks/whk_1/test")).status_code == 202
