"""Nobody creates, lengthens, changes or revokes a key above the own one."""

from datetime import UTC, datetime, timedelta

import pytest

from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.registry.entries import ApiKey, public_id
from tests.linkjolt.api.client import Api
from tests.linkjolt.registry import samples
from tests.security.registry_api import api

__all__ = ["api"]
HOUR = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
LATER = HOUR + timedelta(seconds=1)
SOONER = HOUR - timedelta(seconds=1)
Forbidden = tuple[int, str, list[str]]


def forbidden(*fields: str) -> Forbidden:
    return 403, "forbidden", list(fields)


def path_of(key: ApiKey) -> str:
    return f"/v1/keys/{public_id('key', key.number)}"


async def stored(api: Api, key: ApiKey) -> ApiKey:
    return await api.registry.get(ApiKey, ACCOUNT_DEFAULT, key.number)


# The key that acts, the key acted upon, and the field by which it is above the first.
ABOVE = [
    ({"scopes": ("keys:write",)}, {"scopes": ("admin",)}, "scopes"),
    ({"scopes": ("keys:write",)}, {"scopes": ("keys:write", "links:read")}, "scopes"),
    ({"scopes": ("admin",), "test": True}, {"scopes": ("postback",)}, "test"),
    ({"scopes": ("admin",), "campaign": 1}, {"scopes": ("postback",)}, "campaign_id"),
    (
        {"scopes": ("admin",), "campaign": 1},
        {"scopes": ("postback",), "campaign": 2},
        "campaign_id",
    ),
]


@pytest.mark.parametrize(("actor", "above", "field"), ABOVE)
async def test_a_key_above_the_own_one_is_neither_changed_nor_revoked(
    api: Api, actor: dict[str, object], above: dict[str, object], field: str
) -> None:
    key = await api.use_key("admin", **above)
    await api.use_key("admin", **actor)
    path = path_of(key)
    assert await api.refused("DELETE", path) == forbidden(field)
    assert await api.refused("PATCH", path, {"name": "mine"}) == forbidden(field)
    sooner = {"expires_at": SOONER.isoformat()}
    assert await api.refused("PATCH", path, sooner) == forbidden(field)
    assert await api.refused("POST", f"{path}/signing-secret") == forbidden(field)
    assert await stored(api, key) == key


@pytest.mark.parametrize(("actor", "above", "field"), ABOVE)
async def test_a_key_above_the_own_one_is_not_created(
    api: Api, actor: dict[str, object], above: dict[str, object], field: str
) -> None:
    for _ in range(2):
        await api.registry.create(samples.campaign())
    await api.use_key("admin", **actor)
    form: dict[str, object] = {"name": "k", "scopes": above["scopes"]}
    if campaign := above.get("campaign"):
        form["campaign_id"] = f"cmp_{campaign}"
    number = await api.registry.count(ApiKey, ACCOUNT_DEFAULT)
    assert await api.refused("POST", "/v1/keys", form) == forbidden(field)
    assert await api.registry.count(ApiKey, ACCOUNT_DEFAULT) == number


async def test_no_key_is_created_that_outlives_its_creator(api: Api) -> None:
    await api.use_key("admin", expires_at=HOUR)
    form: dict[str, object] = {"name": "k", "scopes": ["admin"]}
    for expiry in ({}, {"expires_at": None}, {"expires_at": LATER.isoformat()}):
        assert await api.refused("POST", "/v1/keys", form | expiry) == forbidden("expires_at")
    for expiry in (SOONER, HOUR):
        await api.post("/v1/keys", form | {"expires_at": expiry.isoformat()})


async def test_no_key_is_lengthened_beyond_the_own_one(api: Api) -> None:
    other = await api.use_key("admin", expires_at=SOONER)
    own = await api.use_key("admin", expires_at=HOUR)
    for key in (own, other):
        for expiry in (None, LATER.isoformat(), "9999-12-31T23:59:59Z"):
            body = {"expires_at": expiry}
            assert await api.refused("PATCH", path_of(key), body) == forbidden("expires_at")
        assert await stored(api, key) == key
        assert (await api.send("PATCH", path_of(key), {"name": "other"})).status_code == 200
    later = {"expires_at": HOUR.isoformat()}
    assert (await api.send("PATCH", path_of(other), later)).status_code == 200


async def test_nobody_gets_the_signing_secret_of_a_key_that_outlives_the_own_one(api: Api) -> None:
    eternal = await api.use_key("postback")
    await api.use_key("admin", expires_at=HOUR)
    path = f"{path_of(eternal)}/signing-secret"
    assert await api.refused("POST", path) == forbidden("expires_at")
    assert await stored(api, eternal) == eternal


async def test_a_key_without_expiry_may_grant_any(api: Api) -> None:
    key = await api.use_key("admin", expires_at=HOUR)
    await api.use_key("admin")
    changed = await api.send("PATCH", path_of(key), {"expires_at": None})
    assert changed.json()["expires_at"] is None


@pytest.mark.parametrize("test", [False, True])
async def test_a_key_may_revoke_itself_and_its_equals(api: Api, test: bool) -> None:
    equal = await api.use_key("keys:write", test=test)
    own = await api.use_key("keys:write", test=test, expires_at=HOUR)
    for key in (equal, own):
        assert (await api.send("DELETE", path_of(key))).status_code == 204
