"""A key's signing secret is shown once, replaced at once, and nobody gets a stronger key's."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.logs import mask_text
from linkjolt.registry.entries import ApiKey
from linkjolt.registry.sealed.entries import open_key
from linkjolt.storage.sealing import is_sealed
from tests.linkjolt.api.client import Api, serving
from tests.sealers import any_sealer

KEY = {"name": "network", "scopes": ["postback"]}


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        yield api


async def stored_secret(api: Api, number: int) -> str:
    """Reads the signing secret that the registry has."""
    key = await api.registry.get(ApiKey, ACCOUNT_DEFAULT, number)
    assert key.signing_secret == "" or is_sealed(key.signing_secret)
    return open_key(key, any_sealer()).signing_secret


async def test_a_signing_secret_is_shown_when_its_key_is_created_and_never_again(api: Api) -> None:
    made = await api.post("/v1/keys", KEY)
    secret = made["signing_secret"]
    assert secret.startswith("lj_sign_")
    assert secret != made["key"]
    assert secret == await stored_secret(api, int(made["id"].removeprefix("key_")))
    for path in ("/v1/keys", f"/v1/keys/{made['id']}"):
        assert "lj_sign_" not in (await api.send("GET", path)).text
    changed = await api.send("PATCH", f"/v1/keys/{made['id']}", {"name": "other"})
    assert "lj_sign_" not in changed.text
    assert await stored_secret(api, int(made["id"].removeprefix("key_"))) == secret
    assert mask_text(f"a {secret}") == "a lj_sign_***"


async def test_a_new_signing_secret_replaces_the_old_one(api: Api) -> None:
    made = await api.post("/v1/keys", KEY)
    number = int(made["id"].removeprefix("key_"))
    secrets = {made["signing_secret"]}
    for _ in range(2):
        answer = await api.post(f"/v1/keys/{made['id']}/signing-secret", None)
        assert answer == {"id": made["id"], "signing_secret": await stored_secret(api, number)}
        secrets.add(answer["signing_secret"])
    assert len(secrets) == 3


async def test_a_key_of_an_earlier_release_gets_a_signing_secret(api: Api) -> None:
    made = await api.post("/v1/keys", KEY)
    number = int(made["id"].removeprefix("key_"))
    name, redis = redis_keys.registry_entry("key", number), api.registry.redis
    entry = msgspec.json.decode(await redis.get(name) or b"")
    del entry["signing_secret"]
    await redis.set(name, msgspec.json.encode(entry))
    assert await stored_secret(api, number) == ""
    answer = await api.post(f"/v1/keys/{made['id']}/signing-secret", None)
    assert await stored_secret(api, number) == answer["signing_secret"] != ""


REFUSALS: list[tuple[list[str], str, tuple[int, str, list[str]]]] = [
    (["keys:write"], "/v1/keys/key_1", (403, "forbidden", ["scopes"])),
    (["links:write"], "/v1/keys/key_1", (403, "forbidden", [])),
    (["admin"], "/v1/keys/key_99", (404, "not_found", [])),
    (["admin"], "/v1/keys/cmp_1", (404, "not_found", [])),
]


@pytest.mark.parametrize(("scopes", "path", "refusal"), REFUSALS)
async def test_a_signing_secret_is_made_only_by_a_key_with_all_the_scopes(
    api: Api, scopes: list[str], path: str, refusal: tuple[int, str, list[str]]
) -> None:
    await api.use_key(*scopes)
    assert await api.refused("POST", f"{path}/signing-secret") == refusal


async def test_a_revoked_key_gets_no_signing_secret(api: Api) -> None:
    made = await api.post("/v1/keys", KEY)
    path = f"/v1/keys/{made['id']}"
    assert (await api.send("DELETE", path)).status_code == 204
    assert await api.refused("POST", f"{path}/signing-secret") == (404, "not_found", [])
