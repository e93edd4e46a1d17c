"""A rotation seals everything by a new key, whatever runs or ends meanwhile."""

import asyncio
import shutil
import signal
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from ingest.registry_snapshot import SqliteRegistrySnapshot
from linkjolt import redis_keys
from linkjolt.datasets import ACCOUNT_DEFAULT, live_dataset
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey, User, Webhook
from linkjolt.registry.keyring import load_keyring, rotate_click_key
from linkjolt.registry.reads import FEED_START, read_changes, read_entries, read_feed_end
from linkjolt.registry.sealed.entries import open_key, open_totp, open_webhook
from linkjolt.registry.sealed.rotation import add_key, drop_others, seal_again
from linkjolt.registry.sealed.start import prepare_sealing
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.key_file import KeyFileError, read_key_file
from linkjolt.storage.redis import call, connect
from linkjolt.storage.sealing import Place, Sealer, sealed_by
from linkjolt.webhooks.forms import rotated
from tests.linkjolt.registry import samples
from tests.linkjolt.registry.sealed.plain import SIGNING_SECRET, plant, run_command
from tests.linkjolt.registry.sealed.test_start import KEY_NAME, check_sealed, shown_by

POINTS = (
    "rotation_before_retire:1",
    "rotation_after_retire:1",
    "rotation_after_value:1",
    "rotation_after_value:4",
    "rotation_before_drop:1",
)


@pytest.fixture
async def running(redis: Redis, tmp_path: Path) -> Sealer:
    """Seals what was planted; returns the sealer of a process that runs from now on."""
    await plant(redis)
    sealer = Sealer(tmp_path / KEY_NAME)
    await prepare_sealing(redis, sealer)
    return sealer


async def test_the_secret_of_a_persons_codes_is_sealed_by_the_new_key(
    running: Sealer, redis: Redis
) -> None:
    registry = Registry(redis, running)
    user = await registry.create(samples.user("ann@shop.example"))
    secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    changed = await registry.patch(
        User, user.account, user.number, lambda one: msgspec.structs.replace(one, totp=secret)
    )
    stored = await registry.get(User, user.account, changed.number)
    before = sealed_by(stored.totp)
    drop_others(running, await seal_again(redis, running))
    stored = await registry.get(User, user.account, user.number)
    assert sealed_by(stored.totp) == {running.sealing_key().id} != before
    assert open_totp(stored, stored.totp, running) == secret


async def rotate(redis_server: RedisServer, data: Path, *words: str, fault: str = "") -> int:
    end = await asyncio.to_thread(
        run_command,
        *("linkjolt", "secrets", "rotate", *words),
        redis_url=redis_server.url,
        data=data,
        LINKJOLT_FAULT=fault,
    )
    assert "Traceback" not in end.stderr, end.stderr
    return end.returncode


async def check_rotated(redis: Redis, path: Path, *former: str) -> None:
    """Checks that the file has one key, by which everything is sealed and opens."""
    sealer = Sealer(path)
    (key,) = sealer.keys
    assert key.id not in former and not key.waits
    assert sealed_by(await shown_by(redis)) == {key.id}
    await check_sealed(redis, sealer)


async def test_everything_is_sealed_by_a_new_key_and_the_former_one_is_dropped(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, running: Sealer
) -> None:
    (former,) = running.keys
    feed_end = await read_feed_end(redis)
    assert await rotate(redis_server, tmp_path) == 0
    await check_rotated(redis, tmp_path / KEY_NAME, former.id)
    # A process that runs since before opens old and new, and seals by the new one.
    await check_sealed(redis, running)
    webhook = await Registry(redis, running).create(samples.webhook(live_dataset(ACCOUNT_DEFAULT)))
    stored = await call(redis, "GET", redis_keys.registry_entry("webhook", webhook.number))
    assert sealed_by(stored) == Sealer(tmp_path / KEY_NAME).key_ids
    _, changes = await read_changes(redis, feed_end, 100, 1)
    assert {change.kind for change in changes} == {"webhook", "key"} and feed_end != FEED_START

    (second,) = Sealer(tmp_path / KEY_NAME).keys
    assert await rotate(redis_server, tmp_path) == 0
    await check_rotated(redis, tmp_path / KEY_NAME, former.id, second.id)


@pytest.mark.parametrize("point", POINTS)
async def test_an_interrupted_rotation_hurts_nobody_and_is_ended_by_the_next(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, running: Sealer, point: str
) -> None:
    path = tmp_path / KEY_NAME
    (former,) = running.keys
    assert await rotate(redis_server, tmp_path, fault=point) == -signal.SIGKILL
    # Those that run, and those that start now.
    for sealer in (running, Sealer(path)):
        await prepare_sealing(redis, sealer)
        await check_sealed(redis, sealer)
    for sealer in (running, Sealer(path)):
        await rotate_webhook(redis, sealer)
    keys = read_key_file(path)
    assert keys and len(keys) == 2
    added = keys[0].id if keys[0].id != former.id else keys[1].id

    assert await rotate(redis_server, tmp_path) == 0
    (key,) = Sealer(path).keys
    assert key.id == added
    assert sealed_by(await shown_by(redis)) == {key.id}
    for sealer in (running, Sealer(path)):
        await load_keyring(redis, sealer)
        for webhook in await read_entries(redis, Webhook, [1, 2]):
            assert webhook and open_webhook(webhook, sealer)


async def rotate_webhook(redis: Redis, sealer: Sealer) -> None:
    owner = live_dataset(ACCOUNT_DEFAULT)
    await Registry(redis, sealer).patch(
        Webhook, owner, 1, lambda webhook: rotated(webhook, samples.NOW, 3_600)
    )


@pytest.mark.long
async def test_processes_write_and_read_through_rotations(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, running: Sealer
) -> None:
    stop, made = asyncio.Event(), list[int]()

    async def write(sealer: Sealer) -> None:
        client = connect(redis_server.url)
        registry = Registry(client, sealer)
        while not stop.is_set():
            key = msgspec.structs.replace(
                samples.key(f"lj_live_{sealer!r}{len(made)}{id(sealer)}", "postback"),
                signing_secret=SIGNING_SECRET,
            )
            made.append((await registry.create(key)).number)
            await registry.patch(
                ApiKey,
                ACCOUNT_DEFAULT,
                made[-1],
                lambda key: msgspec.structs.replace(key, signing_secret=SIGNING_SECRET),
            )
            await load_keyring(client, sealer)
            await asyncio.sleep(0)
        await client.aclose()

    writers = [asyncio.create_task(write(one)) for one in (running, Sealer(running.path))]
    for _ in range(3):
        assert await rotate(redis_server, tmp_path) == 0
    stop.set()
    await asyncio.gather(*writers)
    assert len(made) > 50
    sealer = Sealer(tmp_path / KEY_NAME)
    assert len(sealer.keys) == 1
    for key in await read_entries(redis, ApiKey, made):
        assert key and open_key(key, sealer).signing_secret == SIGNING_SECRET
    await check_sealed(redis, sealer)


async def test_another_machine_with_the_prepared_file_goes_on_without_a_copy_of_the_new_one(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, running: Sealer
) -> None:
    for _ in range(2):
        assert await rotate(redis_server, tmp_path, "--prepare") == 0
    (_, prepared) = Sealer(tmp_path / KEY_NAME).keys
    other = tmp_path / "other.key"
    shutil.copy(tmp_path / KEY_NAME, other)
    elsewhere = Sealer(other)

    assert await rotate(redis_server, tmp_path) == 0
    assert Sealer(tmp_path / KEY_NAME).key_ids == {prepared.id}
    await check_sealed(redis, elsewhere)
    # It would seal by the former key, which nothing opens any more where the file was rotated.
    await rotate_webhook(redis, elsewhere)
    await rotate_click_key(redis, Sealer(other))
    await prepare_sealing(redis, Sealer(other))
    assert sealed_by(await shown_by(redis)) == {prepared.id}


async def test_a_file_that_was_not_copied_seals_nothing_any_more(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, running: Sealer
) -> None:
    other = tmp_path / "other.key"
    shutil.copy(tmp_path / KEY_NAME, other)
    elsewhere = Sealer(other)
    assert await rotate(redis_server, tmp_path) == 0
    with pytest.raises(Rejected) as refused:
        await rotate_webhook(redis, elsewhere)
    assert refused.value.reason is Reason.unavailable
    # What seals nothing new works: above all a revocation.
    await Registry(redis, elsewhere).delete(ApiKey, ACCOUNT_DEFAULT, 1, samples.NOW)
    with pytest.raises(KeyFileError, match="lacks the key"):
        await prepare_sealing(redis, Sealer(other))
    await check_rotated(redis, tmp_path / KEY_NAME)


async def test_any_sealed_value_of_the_registry_is_found(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, running: Sealer
) -> None:
    """As those of integrations and of users, which the rotation does not know."""
    texts, hashed = "lj:{r}:integration:7", "lj:{r}:authenticators"
    body = {"token": running.seal(Place(texts, "token"), b"one"), "name": "x"}
    await call(redis, "SET", texts, msgspec.json.encode(body), "PX", 60_000)
    await call(redis, "HSET", hashed, "9", running.seal(Place(hashed, "9"), b"two"))

    assert await rotate(redis_server, tmp_path) == 0
    sealer = Sealer(tmp_path / KEY_NAME)
    stored = msgspec.json.decode(await call(redis, "GET", texts))
    assert sealer.open(Place(texts, "token"), stored["token"]) == b"one" and stored["name"] == "x"
    assert 50_000 < await call(redis, "PTTL", texts) <= 60_000
    assert sealer.open(Place(hashed, "9"), await call(redis, "HGET", hashed, "9")) == b"two"


async def test_no_key_is_dropped_where_something_does_not_open(
    redis: Redis, tmp_path: Path, running: Sealer
) -> None:
    (former,) = running.keys
    sealed = running.seal(Place("lj:{r}:integration:7", "token"), b"one")
    await call(redis, "SET", "lj:{r}:integration:8", sealed)
    with pytest.raises(KeyFileError, match="no key was dropped"):
        await seal_again(redis, running)
    assert former.id in Sealer(tmp_path / KEY_NAME).key_ids
    await check_sealed(redis, Sealer(tmp_path / KEY_NAME))


async def test_rotations_on_two_machines_do_not_mix(
    redis: Redis, tmp_path: Path, running: Sealer
) -> None:
    other = tmp_path / "other.key"
    shutil.copy(tmp_path / KEY_NAME, other)
    elsewhere = Sealer(other)
    await add_key(redis, elsewhere)
    rotation = await seal_again(redis, running)
    for _ in range(2):
        with pytest.raises(KeyFileError):
            await seal_again(redis, elsewhere)
    drop_others(running, rotation)
    await check_rotated(redis, tmp_path / KEY_NAME)


async def test_the_copy_of_the_registry_is_sealed_anew(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, running: Sealer
) -> None:
    keyring = await load_keyring(redis, running)
    snapshot = SqliteRegistrySnapshot(tmp_path / "edge")
    await snapshot.store_keyring(keyring, running)
    assert await rotate(redis_server, tmp_path) == 0
    assert await snapshot.keyring(Sealer(tmp_path / KEY_NAME)) == keyring
    await snapshot.close()


async def test_a_rotation_does_not_run_twice_at_once(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, running: Sealer
) -> None:
    ends = await asyncio.gather(*(rotate(redis_server, tmp_path) for _ in range(3)))
    assert 0 in ends and set(ends) <= {0, 1}
    await check_rotated(redis, tmp_path / KEY_NAME)
