"""A rotated key answers to its new secret, and to older ones for as long as was said."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from ingest.registry_snapshot import SqliteRegistrySnapshot
from linkjolt.api.key_secrets import FORMER_SECRETS_MAX, rotated_key
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.directory.directory import Directory
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import ApiKey, public_id
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.redis import connect
from tests.linkjolt.api.client import Api, serving
from tests.linkjolt.directory.feeds import following
from tests.linkjolt.registry import samples
from tests.waiting import wait_until

DAY = 86_400


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        yield api


async def rotate(api: Api, key: dict[str, Any], **form: object) -> dict[str, Any]:
    return await api.post(f"/v1/keys/{key['id']}/rotate", form)


async def status_of(api: Api, secret: str) -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    return (await api.client.get("/v1/me", headers=headers)).status_code


async def stored(api: Api, key: dict[str, Any]) -> ApiKey:
    number = int(key["id"].removeprefix("key_"))
    return await api.registry.get(ApiKey, ACCOUNT_DEFAULT, number)


async def test_the_new_secret_is_shown_once_and_the_old_one_lives_for_the_overlap(api: Api) -> None:
    made = await api.post("/v1/keys", {"name": "shop", "scopes": ["links:read"]})
    rotated = await rotate(api, made, overlap_seconds=DAY)
    assert (rotated["id"], rotated["scopes"]) == (made["id"], made["scopes"])
    assert rotated["key"] != made["key"]
    [old] = rotated["old_secrets"]
    assert old["hint"] == made["hint"] != rotated["hint"]
    left = datetime.fromisoformat(old["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=DAY - 60) < left <= timedelta(seconds=DAY)
    assert [await status_of(api, one["key"]) for one in (made, rotated)] == [200, 200]
    read = await api.send("GET", f"/v1/keys/{made['id']}")
    assert read.json()["old_secrets"] == [old]
    assert rotated["key"] not in read.text


async def test_an_absent_overlap_is_a_day(api: Api) -> None:
    made = await api.post("/v1/keys", {"name": "shop", "scopes": ["links:read"]})
    [old] = (await rotate(api, made))["old_secrets"]
    left = datetime.fromisoformat(old["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=DAY - 60) < left <= timedelta(seconds=DAY)


async def test_without_an_overlap_every_older_secret_ends_at_once(
    redis: Redis, api: Api, registry: Registry
) -> None:
    made = await api.post("/v1/keys", {"name": "shop", "scopes": ["links:read"]})
    secrets = [made["key"], (await rotate(api, made, overlap_seconds=DAY))["key"]]
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    async with following(directory, registry):
        for secret in secrets:
            assert await directory.key(secret)
        rotated = await rotate(api, made, overlap_seconds=0)
        assert rotated["old_secrets"] == []

        async def gone() -> bool:
            return [await directory.key(secret) for secret in secrets] == [None, None]

        await wait_until(gone)
        assert await directory.key(rotated["key"])
    assert await status_of(api, rotated["key"]) == 200


async def test_revoking_ends_every_secret(redis: Redis, api: Api, registry: Registry) -> None:
    made = await api.post("/v1/keys", {"name": "shop", "scopes": ["links:read"]})
    secrets = [made["key"], *[(await rotate(api, made))["key"] for _ in range(2)]]
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    async with following(directory, registry):
        assert all([await directory.key(secret) for secret in secrets])
        await api.send("DELETE", f"/v1/keys/{made['id']}")

        async def gone() -> bool:
            return not any([await directory.key(secret) for secret in secrets])

        await wait_until(gone)


async def test_an_edge_in_whose_memory_the_old_secret_is_stops_taking_it_at_its_instant(
    redis: Redis, registry: Registry
) -> None:
    secret, new = api_key_secrets.make_secret(), api_key_secrets.make_secret()
    now = datetime.now(UTC)
    key = await registry.create(samples.key(secret, "admin"))
    await registry.patch(
        ApiKey, ACCOUNT_DEFAULT, key.number, lambda one: rotated_key(one, new, 3_600, now)
    )
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    for one in (secret, new):
        await directory.key(one)
    found, fresh = await directory.key(secret), await directory.key(new)
    assert found
    assert fresh
    # As a key that expires it never goes the fast way.
    assert found.expires_at == now + timedelta(hours=1)
    assert fresh.expires_at is None
    assert found.is_expired(now + timedelta(hours=1))
    assert found.number == fresh.number == key.number


async def test_an_old_secret_lives_no_longer_than_its_key(api: Api) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=5)).replace(microsecond=0)
    form = {"name": "shop", "scopes": ["links:read"], "expires_at": soon.isoformat()}
    made = await api.post("/v1/keys", form)
    [old] = (await rotate(api, made, overlap_seconds=DAY))["old_secrets"]
    assert datetime.fromisoformat(old["expires_at"]) == soon


def test_a_later_rotation_lengthens_no_older_secret_and_may_shorten_it() -> None:
    now, secrets = samples.NOW, [api_key_secrets.make_secret() for _ in range(3)]
    key = rotated_key(samples.key(secrets[0]), secrets[1], 100, now)
    longer = rotated_key(key, secrets[2], 1_000, now)
    assert [(one.expires_at - now).seconds for one in longer.former_secrets] == [1_000, 100]
    shorter = rotated_key(key, secrets[2], 10, now)
    assert [(one.expires_at - now).seconds for one in shorter.former_secrets] == [10, 10]
    later = rotated_key(key, secrets[2], 10, now + timedelta(seconds=100))
    assert [one.digest for one in later.former_secrets] == [key.digest]


async def test_there_are_so_many_old_secrets_at_most(api: Api) -> None:
    made = await api.post("/v1/keys", {"name": "shop", "scopes": ["links:read"]})
    for _ in range(FORMER_SECRETS_MAX):
        await rotate(api, made)
    before, path = await stored(api, made), f"/v1/keys/{made['id']}/rotate"
    refused = await api.refused("POST", path, {"overlap_seconds": 1})
    assert refused == (409, "limit_reached", ["overlap_seconds"])
    assert await stored(api, made) == before
    assert (await rotate(api, made, overlap_seconds=0))["old_secrets"] == []


@pytest.mark.parametrize("overlap", [-1, 2_592_001, 1.5, "60", None, True, 10**30])
async def test_a_bad_overlap_changes_nothing(api: Api, overlap: object) -> None:
    made = await api.post("/v1/keys", {"name": "shop", "scopes": ["links:read"]})
    before, path = await stored(api, made), f"/v1/keys/{made['id']}/rotate"
    refused = await api.refused("POST", path, {"overlap_seconds": overlap})
    assert refused == (422, "invalid_field", ["overlap_seconds"])
    assert await stored(api, made) == before


async def test_a_test_key_stays_one(api: Api) -> None:
    made = await api.post("/v1/keys", {"name": "t", "scopes": ["links:read"], "test": True})
    assert (await rotate(api, made))["key"].startswith("lj_test_")


async def test_the_old_secret_of_a_key_rotates_it_not(redis: Redis, api: Api) -> None:
    own = await api.use_key("keys:write")
    path = f"/v1/keys/{public_id('key', own.number)}/rotate"
    rotated = await api.post(path, {"overlap_seconds": DAY})
    async with serving(redis) as other:
        other.client.headers["Authorization"] = api.client.headers["Authorization"]
        assert await other.refused("POST", path, {}) == (403, "forbidden", ["expires_at"])
        other.client.headers["Authorization"] = f"Bearer {rotated['key']}"
        await other.post(path, {})


async def test_a_rotation_while_the_key_is_changed_loses_neither(api: Api) -> None:
    made = await api.post("/v1/keys", {"name": "shop", "scopes": ["links:read"]})
    path = f"/v1/keys/{made['id']}"
    answers = await asyncio.gather(
        rotate(api, made), rotate(api, made), api.send("PATCH", path, {"name": "other"})
    )
    assert (await stored(api, made)).name == "other"
    for answer in answers[:2]:
        assert await status_of(api, answer["key"]) == 200


async def copy_of(redis: Redis, folder: Path, digest: str) -> SqliteRegistrySnapshot:
    """Copies the registry until the copy has a key of this digest."""
    snapshot = SqliteRegistrySnapshot(folder)
    copying = asyncio.create_task(snapshot.follow(redis))

    async def copied() -> bool:
        return await snapshot.key(digest) is not None

    await wait_until(copied)
    copying.cancel()
    await asyncio.gather(copying, return_exceptions=True)
    return snapshot


async def test_an_edge_without_redis_knows_both_secrets_and_none_that_ended(
    redis: Redis, redis_server: RedisServer, registry: Registry, tmp_path: Path
) -> None:
    secrets = [api_key_secrets.make_secret() for _ in range(4)]
    key = await registry.create(samples.key(secrets[0], "admin"))
    now, overlaps = datetime.now(UTC), iter((0, 1, 3_600))
    for secret in secrets[1:]:
        seconds = next(overlaps)
        await registry.patch(
            ApiKey,
            ACCOUNT_DEFAULT,
            key.number,
            lambda one, secret=secret, seconds=seconds: rotated_key(one, secret, seconds, now),
        )
    snapshot = await copy_of(redis, tmp_path, api_key_secrets.digest(secrets[3]))
    lost = connect(redis_server.url.replace(str(redis_server.port), "1"))
    directory = Directory(lost, links_cached=10, unknown_cached=10, snapshot=snapshot)
    found = [await directory.key(secret) for secret in secrets[1:]]
    await lost.aclose()
    ended = await snapshot.key(api_key_secrets.digest(secrets[0]))
    await snapshot.close()
    assert [one and one.expires_at and one.expires_at - now for one in found] == [
        timedelta(seconds=1),
        timedelta(hours=1),
        None,
    ]
    assert ended is None


async def test_a_copy_forgets_secrets_that_ended(
    redis: Redis, registry: Registry, tmp_path: Path
) -> None:
    secrets = [api_key_secrets.make_secret() for _ in range(3)]
    digests = [api_key_secrets.digest(secret) for secret in secrets]
    key = await registry.create(samples.key(secrets[0], "admin"))
    for secret, seconds in zip(secrets[1:], (3_600, 0), strict=True):
        now = datetime.now(UTC)
        await registry.patch(
            ApiKey,
            ACCOUNT_DEFAULT,
            key.number,
            lambda one, s=secret, o=seconds, at=now: rotated_key(one, s, o, at),
        )
        snapshot = await copy_of(redis, tmp_path, api_key_secrets.digest(secret))
        found = [await snapshot.key(digest) is not None for digest in digests]
        await snapshot.close()
        assert found == ([True, True, False] if seconds else [False, False, True])


def test_a_key_of_a_former_release_decodes() -> None:
    """Its entry has none of the fields of this release."""
    entry = msgspec.json.decode(msgspec.json.encode(samples.key("secret", "admin")))
    for field in ("affiliate", "allowed_networks", "former_secrets", "scopes_version"):
        del entry[field]
    key = msgspec.json.decode(msgspec.json.encode(entry), type=ApiKey)
    assert (key.affiliate, key.allowed_networks, key.former_secrets) == (0, (), ())
    assert key.found_by(key.digest) is key
