"""A revoked token is refused at once, everywhere, and as long as it would have been valid."""

import asyncio
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from ingest.registry_snapshot import SqliteRegistrySnapshot
from linkjolt import redis_keys
from linkjolt.auth.access import identify
from linkjolt.auth.tokens import issue_token, sign_token, verify_token
from linkjolt.datasets import ACCOUNT_DEFAULT, Account
from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.accounts import create_account, set_disabled
from linkjolt.registry.entries import OAuthClient
from linkjolt.registry.keyring import TokenKey, load_keyring, load_token_keys, rotate_token_key
from linkjolt.registry.store import Registry
from linkjolt.storage.redis import RedisError, call, connect
from tests.ingest.conftest import Shop
from tests.ingest.oauth.clients import Program, make_program, refused
from tests.linkjolt.directory.feeds import following
from tests.linkjolt.registry import samples
from tests.sealers import any_sealer
from tests.waiting import wait_until


@pytest.fixture
async def program(shop: Shop) -> Program:
    return await make_program(shop, "links:read")


@pytest.fixture
async def other_edge(shop: Shop) -> AsyncGenerator[Directory]:
    """Follows the feed as another edge, or the reports listener."""
    directory = Directory(shop.redis, links_cached=100, unknown_cached=100)
    directory.clients.sealer = shop.edge.sealer
    async with following(directory, shop.registry):
        yield directory


def number_of(program: Program) -> int:
    return int(program.client_id.removeprefix("client_"))


async def why_refused(token: str, directory: Directory) -> str:
    """Returns why a token is refused; '' where it is not."""
    try:
        await identify(token, directory, {})
    except Rejected as error:
        assert error.reason is Reason.unauthorized
        return error.message
    return ""


async def test_a_revoked_token_is_refused_at_once(shop: Shop, program: Program) -> None:
    revoked, other = await program.token(), await program.token()
    answer = await program.revoke(revoked)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert (await shop.get("/v1/links", revoked)).status_code == 401
    assert (await shop.get("/v1/links", other)).status_code == 200
    assert (await program.revoke(revoked)).status_code == 200


async def test_a_revocation_reaches_every_process(
    shop: Shop, program: Program, other_edge: Directory
) -> None:
    token = await program.token()
    assert await why_refused(token, other_edge) == ""
    await program.revoke(token)
    revoked_at = time.monotonic()

    async def is_refused() -> bool:
        return await why_refused(token, other_edge) == "the access token was revoked"

    await wait_until(is_refused)
    assert time.monotonic() - revoked_at < 1


async def test_deleting_a_client_revokes_all_its_tokens(
    shop: Shop, program: Program, other_edge: Directory
) -> None:
    tokens = [await program.token() for _ in range(3)]
    assert [await why_refused(token, other_edge) for token in tokens] == [""] * 3
    await shop.registry.delete(OAuthClient, ACCOUNT_DEFAULT, number_of(program), datetime.now(UTC))
    deleted = ["the client of the access token was deleted"] * 3

    async def are_refused() -> bool:
        return [await why_refused(token, other_edge) for token in tokens] == deleted

    await wait_until(are_refused)
    await shop.edge.directory.clients.reload([number_of(program)])
    assert (await shop.get("/v1/links", tokens[0])).status_code == 401


async def test_a_client_revokes_its_own_tokens_only(shop: Shop, program: Program) -> None:
    token, other = await program.token(), await make_program(shop, "admin")
    assert refused(await other.revoke(token), 400, "invalid_grant")
    assert (await shop.get("/v1/links", token)).status_code == 200
    answer = await other.send("/oauth/revoke", {"token": token}, "Basic eDp5")
    assert refused(answer, 401, "invalid_client")
    assert (await shop.get("/v1/links", token)).status_code == 200


async def test_what_is_no_valid_token_is_revoked_already(shop: Shop, program: Program) -> None:
    client = await shop.registry.get(OAuthClient, ACCOUNT_DEFAULT, number_of(program))
    keys = await load_token_keys(shop.redis, shop.edge.sealer)
    an_hour_ago = (time.time_ns() // 1_000_000) - 3_600_000
    expired = sign_token(issue_token(client, ["links:read"], an_hour_ago, 60), keys)
    for text in ("x", shop.key, expired, (await program.token())[:-1]):
        assert (await program.revoke(text)).status_code == 200
    assert await shop.registry.get(OAuthClient, ACCOUNT_DEFAULT, client.number) == client
    assert (await shop.get("/v1/me")).status_code == 200
    assert (await shop.get("/v1/links", expired)).json()["detail"].endswith("has expired.")
    assert refused(await program.send("/oauth/revoke", {}), 400, "invalid_request")
    hinted = {"token": "x", "token_type_hint": "refresh_token"}
    assert (await program.send("/oauth/revoke", hinted)).status_code == 200


async def test_revocations_at_once_all_count(shop: Shop, program: Program) -> None:
    tokens = await asyncio.gather(*(program.token() for _ in range(40)))
    answers = await asyncio.gather(*(program.revoke(token) for token in tokens))
    assert {answer.status_code for answer in answers} == {200}
    client = await shop.registry.get(OAuthClient, ACCOUNT_DEFAULT, number_of(program))
    assert len(client.revoked) == 40


async def test_a_rename_keeps_what_is_revoked(shop: Shop, program: Program) -> None:
    token = await program.token()
    await program.revoke(token)
    admin = await (await make_program(shop, "admin")).token()
    headers = {"Authorization": f"Bearer {admin}"}
    path = f"/v1/oauth-clients/{program.client_id}"
    renamed = await shop.client.patch(path, json={"name": "Depot"}, headers=headers)
    assert renamed.status_code == 200
    assert (await shop.get("/v1/links", token)).status_code == 401


async def test_an_older_copy_does_not_replace_a_newer_one(shop: Shop, program: Program) -> None:
    token = await program.token()
    older = await shop.registry.get(OAuthClient, ACCOUNT_DEFAULT, number_of(program))
    await program.revoke(token)
    shop.edge.directory.clients.put(older)
    assert (await shop.get("/v1/links", token)).status_code == 401


async def test_a_full_redis_takes_revocations(shop: Shop, program: Program) -> None:
    token = await program.token()
    await call(shop.redis, "CONFIG", "SET", "maxmemory", 1)
    try:
        answer = await program.revoke(token)
    finally:
        await call(shop.redis, "CONFIG", "SET", "maxmemory", 0)
    assert answer.status_code == 200, answer.text
    assert (await shop.get("/v1/links", token)).status_code == 401


async def test_the_snapshot_has_clients_and_what_is_revoked(
    shop: Shop, program: Program, tmp_path: Path
) -> None:
    await program.revoke(await program.token())
    stored = await shop.registry.get(OAuthClient, ACCOUNT_DEFAULT, number_of(program))
    for folder in ("edge", "new"):
        snapshot = SqliteRegistrySnapshot(tmp_path / folder)
        following_feed = asyncio.create_task(snapshot.follow(shop.redis))

        async def is_copied(snapshot: SqliteRegistrySnapshot = snapshot) -> bool:
            return await snapshot.client(stored.number) == stored

        await wait_until(is_copied)
        following_feed.cancel()
        await asyncio.gather(following_feed, return_exceptions=True)
        await snapshot.close()


async def test_a_disabled_account_is_known_without_redis(shop: Shop, tmp_path: Path) -> None:
    account = await create_account(shop.registry, "Other", datetime.now(UTC))
    owner = Account(account.number)
    await set_disabled(shop.registry, owner, datetime.now(UTC))
    snapshot = SqliteRegistrySnapshot(tmp_path / "new")
    following_feed = asyncio.create_task(snapshot.follow(shop.redis))

    async def is_copied() -> bool:
        return await snapshot.account(account.number) is not None

    await wait_until(is_copied)
    following_feed.cancel()
    await asyncio.gather(following_feed, return_exceptions=True)
    nowhere = connect("redis://127.0.0.1:1", 0.1)
    directory = Directory(nowhere, links_cached=1, unknown_cached=1, snapshot=snapshot)
    assert await directory.clients.is_disabled(owner)
    assert not await directory.clients.is_disabled(ACCOUNT_DEFAULT)
    # Of an account that the copy lacks nobody can say.
    with pytest.raises(RedisError):
        await directory.clients.is_disabled(Account(9))
    await nowhere.aclose()
    await snapshot.close()


async def test_signing_keys_are_made_once_and_rotate(redis: Redis) -> None:
    keyring = await load_keyring(redis, any_sealer())
    (first,) = keyring.token_keys
    assert (first.number, len(first.secret), first.since_ms) == (1, 32, 0)
    assert first.secret not in (*keyring.click_keys, keyring.customer_key)
    since_ms = await rotate_token_key(redis, any_sealer())
    keys = await load_token_keys(redis, any_sealer())
    assert keys[1:] == (first,)
    assert (keys[0].number, keys[0].since_ms) == (2, since_ms)
    with pytest.raises(Rejected):
        await rotate_token_key(redis, any_sealer())
    assert (await load_keyring(redis, any_sealer())).click_keys == keyring.click_keys


async def test_an_installation_of_a_former_release_gets_signing_keys(redis: Redis) -> None:
    first = await load_keyring(redis, any_sealer())
    await redis.hdel(redis_keys.SECRETS, "token:1")
    again = await load_keyring(redis, any_sealer())
    assert again.click_keys == first.click_keys
    assert len(again.token_keys) == 1
    assert again.token_keys != first.token_keys


async def test_processes_take_up_a_new_signing_key(redis: Redis) -> None:
    await load_keyring(redis, any_sealer())
    directory = Directory(redis, links_cached=100, unknown_cached=100)
    directory.clients.sealer = any_sealer()
    await directory.start_at_feed_end()
    await rotate_token_key(redis, any_sealer())
    await directory.clients.load_keys()
    assert directory.clients.token_keys == await load_token_keys(redis, any_sealer())


async def test_a_redis_that_was_emptied_changes_no_running_process(redis: Redis) -> None:
    keys = (await load_keyring(redis, any_sealer())).token_keys
    directory = Directory(redis, links_cached=100, unknown_cached=100)
    directory.clients.sealer = any_sealer()
    await directory.start_at_feed_end()
    await redis.delete(redis_keys.SECRETS)
    await directory.clients.load_keys()
    assert directory.clients.token_keys == keys
    await load_keyring(redis, any_sealer())
    await directory.clients.load_keys()
    assert directory.clients.token_keys == keys


async def test_a_token_for_another_account_than_the_clients_is_refused(redis: Redis) -> None:
    registry = Registry(redis)
    client = await registry.create(samples.client("secret", "admin"))
    keys = (await load_keyring(redis, any_sealer())).token_keys
    directory = Directory(redis, links_cached=100, unknown_cached=100)
    directory.clients.sealer = any_sealer()
    await directory.start_at_feed_end()
    now_ms = time.time_ns() // 1_000_000
    token = issue_token(client, ["admin"], now_ms, 60)
    assert await why_refused(sign_token(token, keys), directory) == ""
    foreign = msgspec.structs.replace(token, account=2)
    assert "deleted" in await why_refused(sign_token(foreign, keys), directory)
    unknown = msgspec.structs.replace(token, client=99)
    assert "deleted" in await why_refused(sign_token(unknown, keys), directory)
    stranger = sign_token(token, [TokenKey(1, b"s" * 32)])
    assert verify_token(stranger, keys) is None
    assert await why_refused(stranger, directory) == "the access token is not valid"


async def test_nobody_without_the_keys_refuses_or_takes_tokens(redis: Redis) -> None:
    directory = Directory(redis, links_cached=100, unknown_cached=100)
    directory.clients.sealer = any_sealer()
    with pytest.raises(Rejected) as refusal:
        await identify("lj_token_" + "A" * 100, directory, {})
    assert refusal.value.reason is Reason.unavailable
