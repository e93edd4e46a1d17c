"""Stored texts are read as they are: nothing hidden in them, nothing turned around."""

import msgspec
import pytest

from linkjolt.web.openapi import Schema
from tests.ingest.conftest import Shop, shop, spool
from tests.linkjolt.api.client import Api
from tests.linkjolt.registry import samples
from tests.security.registry_api import api

__all__ = ["api", "shop", "spool"]
_RANGES = (
    *((0x00, 0x1F), (0x7F, 0x9F), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F)),
    (0xE0001, 0xE007F),
)
_SINGLE = (0xAD, 0x34F, 0x61C, 0x115F, 0x180E, 0x3164, 0xFEFF, 0xFFA0)
HIDDEN = [chr(code) for first, last in _RANGES for code in (first, last)] + [*map(chr, _SINGLE)]
READABLE = ("Café Zürich", "北京商店", "مقهى", "ร้านค้า", "Ann ❤️ Bob", "O'Neil & Sons — 50 %", "שלום")
_CAMPAIGN: Schema = {"currency": "USD", "commission": {"kind": "percentage", "rate": 30}}
FORMS: list[tuple[str, Schema]] = [
    ("/v1/campaigns", _CAMPAIGN),
    ("/v1/affiliates", {}),
    ("/v1/keys", {"scopes": ["links:read"]}),
]
REFUSED = (422, "invalid_field")


@pytest.mark.parametrize("character", HIDDEN, ids=lambda one: f"U+{ord(one):04X}")
async def test_no_name_holds_what_is_not_seen(api: Api, character: str) -> None:
    name = f"Ann{character}nnA"
    for path, form in FORMS:
        made = await api.post(path, {**form, "name": "Ann"})
        assert await api.refused("POST", path, {**form, "name": name}) == (*REFUSED, ["name"])
        one = f"{path}/{made['id']}"
        assert await api.refused("PATCH", one, {"name": name}) == (*REFUSED, ["name"])
        assert (await api.get(one))["name"] == "Ann"
    if character.isspace() or character in "\x00\x1f\x7f":
        return
    email = {"name": "Ann", "email": f"a{character}b@shop.example"}
    assert await api.refused("POST", "/v1/affiliates", email) == (*REFUSED, ["email"])
    await samples.stored_link(api.registry)
    passed = {"pass_params": ["sub1", f"a{character}"]}
    refused = await api.refused("PATCH", "/v1/links/lnk_1", passed)
    assert refused == (*REFUSED, ["pass_params[1]"])


@pytest.mark.parametrize("name", READABLE)
async def test_names_of_every_script_are_taken(api: Api, name: str) -> None:
    for path, form in FORMS:
        assert (await api.post(path, {**form, "name": name}))["name"] == name


async def test_a_reason_holds_nothing_hidden(shop: Shop) -> None:
    made = await shop.post({"tracking_code": "tc_ABC123", "order_id": "1", "order_value": 5})
    one = f"/v1/conversions/{made.json()['conversion_id']}/adjustments"
    body = {"kind": "reject", "adjustment_id": "a", "reason": "fraud\u202edoog"}
    for path in (one, "/v1/adjustments"):
        target = {"order_id": "1"} if path == "/v1/adjustments" else {}
        refused = await shop.post(body | target, path=path)
        assert refused.status_code == 422
        assert [error["field"] for error in refused.json()["errors"]] == ["reason"]
    assert not await shop.adjustments()


async def test_a_name_of_an_earlier_release_stays_and_can_be_changed(api: Api) -> None:
    hidden = "Ann\u202ennA"
    await api.registry.create(samples.campaign(hidden))
    await api.registry.create(samples.affiliate(hidden))
    key = await api.registry.create(
        msgspec.structs.replace(samples.key("lj_live_x", "links:read"), name=hidden)
    )
    changes: list[tuple[str, Schema]] = [
        ("/v1/campaigns/cmp_1", {"window_days": 3}),
        ("/v1/affiliates/aff_1", {"email": "ann@shop.example"}),
        (f"/v1/keys/key_{key.number}", {"expires_at": "2099-01-01T00:00:00Z"}),
    ]
    for path, change in changes:
        answer = await api.send("PATCH", path, change)
        assert (answer.status_code, answer.json()["name"]) == (200, hidden)
        assert (await api.send("PATCH", path, {"name": "Ann"})).json()["name"] == "Ann"
