"""OAuth clients are created, listed, renamed and deleted, by nobody who is below them."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from linkjolt.datasets import ACCOUNT_DEFAULT, Account
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import ApiKey, OAuthClient
from tests.linkjolt.api.client import Api
from tests.linkjolt.registry import samples
from tests.security.registry_api import api

__all__ = ["api"]
PATH = "/v1/oauth-clients"
FORM = {"name": "Warehouse", "scopes": ["conversions:write", "links:read", "links:read"]}
HOUR = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)


async def stored(api: Api, number: int) -> OAuthClient:
    return await api.registry.get(OAuthClient, ACCOUNT_DEFAULT, number)


async def test_a_client_shows_its_secret_once(api: Api) -> None:
    made = await api.post(PATH, FORM)
    secret = made.pop("client_secret")
    assert secret.startswith("lj_secret_")
    assert made["client_id"] == made["id"] == "client_2"
    assert made["scopes"] == ["conversions:write", "links:read"]
    assert (made["test"], made["expires_at"]) == (False, None)
    assert await api.get(f"{PATH}/client_2") == made
    assert (await api.get(PATH))["data"] == [made]
    client = await stored(api, 2)
    assert client.digest == api_key_secrets.digest(secret)
    assert secret.encode() not in msgspec.json.encode(client)


async def test_clients_and_keys_share_one_sequence_of_numbers(api: Api) -> None:
    made = await api.post(PATH, FORM)
    key = await api.use_key("admin")
    again = await api.post(PATH, FORM)
    assert (made["id"], key.number, again["id"]) == ("client_2", 3, "client_4")
    assert await api.refused("GET", "/v1/keys/key_2") == (404, "not_found", [])
    assert await api.refused("GET", f"{PATH}/client_3") == (404, "not_found", [])


async def test_a_client_is_renamed_and_nothing_else_of_it_changes(api: Api) -> None:
    await api.post(PATH, FORM)
    answer = await api.send("PATCH", f"{PATH}/client_2", {"name": "Depot"})
    assert answer.json()["name"] == "Depot"
    before = await stored(api, 2)
    assert before.revision == 1
    settled = ("scopes", "client_id", "client_secret", "expires_at", "test", "hint", "created_at")
    for field in settled:
        body = {"name": "Other", field: "x"}
        assert await api.refused("PATCH", f"{PATH}/client_2", body) == (
            422,
            "invalid_field",
            [field],
        )
    assert (await api.refused("PATCH", f"{PATH}/client_2", {"nam": "x"}))[1] == "unknown_field"
    assert await stored(api, 2) == before


async def test_a_deleted_client_is_gone(api: Api) -> None:
    await api.post(PATH, FORM)
    assert (await api.send("DELETE", f"{PATH}/client_2")).status_code == 204
    assert (await api.get(PATH))["data"] == []
    for method in ("GET", "DELETE"):
        assert await api.refused(method, f"{PATH}/client_2") == (404, "not_found", [])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scopes": ["links:read", "everything"]}, "scopes[1]"),
        ({"scopes": []}, "scopes"),
        ({"name": ""}, "name"),
        ({"name": "a\u200bb"}, "name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"campaign_id": "cmp_1"}, "campaign_id"),
        ({"redirect_uri": "https://x.example"}, "redirect_uri"),
    ],
)
async def test_a_bad_form_is_refused_by_its_field(
    api: Api, change: dict[str, object], field: str
) -> None:
    status, _, fields = await api.refused("POST", PATH, FORM | change)
    assert (status, fields) == (422, [field])
    assert await api.registry.count(OAuthClient, ACCOUNT_DEFAULT) == 0


# The key that acts, the client acted upon, and the field by which it is above the key.
ABOVE = [
    ({"scopes": ("keys:write",)}, {"scopes": ("admin",)}, "scopes"),
    ({"scopes": ("keys:write",)}, {"scopes": ("keys:write", "links:read")}, "scopes"),
    ({"scopes": ("admin",), "test": True}, {"scopes": ("postback",)}, "test"),
    ({"scopes": ("admin",), "campaign": 1}, {"scopes": ("postback",)}, "campaign_id"),
]


@pytest.mark.parametrize(("actor", "above", "field"), ABOVE)
async def test_nobody_governs_a_client_above_the_own_key(
    api: Api, actor: dict[str, object], above: dict[str, object], field: str
) -> None:
    entry = msgspec.structs.replace(samples.client("secret"), **above)
    client = await api.registry.create(entry)
    await api.use_key("admin", **actor)
    refused = 403, "forbidden", [field]
    path = f"{PATH}/client_{client.number}"
    assert await api.refused("DELETE", path) == refused
    assert await api.refused("PATCH", path, {"name": "mine"}) == refused
    assert await api.refused("POST", PATH, {"name": "c", **above}) == refused
    assert await stored(api, client.number) == client
    assert await api.registry.count(OAuthClient, ACCOUNT_DEFAULT) == 1


async def test_no_client_outlives_the_key_that_creates_it(api: Api) -> None:
    await api.use_key("admin", expires_at=HOUR)
    later = (HOUR + timedelta(seconds=1)).isoformat()
    for expiry in ({}, {"expires_at": None}, {"expires_at": later}):
        refused = 403, "forbidden", ["expires_at"]
        assert await api.refused("POST", PATH, FORM | expiry) == refused
    await api.post(PATH, FORM | {"expires_at": HOUR.isoformat()})


async def test_no_client_has_more_networks_or_requests_than_its_creator(api: Api) -> None:
    bounds = {"allowed_networks": ("127.0.0.0/8",), "rate_limit_per_minute": 10}
    for field, value in bounds.items():
        await api.use_key("admin", **{field: value})
        assert await api.refused("POST", PATH, FORM) == (403, "forbidden", [field])
    assert await api.registry.count(OAuthClient, ACCOUNT_DEFAULT) == 0


async def test_a_test_key_makes_test_clients_only(api: Api) -> None:
    await api.use_key("keys:write", "links:read", "conversions:write", test=True)
    assert (await api.refused("POST", PATH, FORM))[2] == ["test"]
    made = await api.post(PATH, FORM | {"test": True})
    assert made["test"] is True


async def test_clients_of_another_account_do_not_exist(api: Api) -> None:
    foreign = msgspec.structs.replace(samples.client("secret", "admin"), account=Account(2))
    client = await api.registry.create(foreign)
    path = f"{PATH}/client_{client.number}"
    assert (await api.get(PATH))["data"] == []
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"name": "mine"})):
        assert await api.refused(method, path, body) == (404, "not_found", [])
    assert await api.registry.get(OAuthClient, Account(2), client.number) == client


async def test_a_key_without_keys_write_manages_no_clients(api: Api) -> None:
    await api.use_key("links:write", "conversions:write")
    assert (await api.refused("POST", PATH, FORM))[:2] == (403, "forbidden")
    assert (await api.refused("GET", PATH))[:2] == (403, "forbidden")
    assert await api.registry.count(ApiKey, ACCOUNT_DEFAULT) == 2
