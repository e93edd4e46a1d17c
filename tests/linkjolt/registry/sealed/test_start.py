"""A start opens the key file, seals what was plain, and refuses a missing or a wrong file."""

import asyncio
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.registry.entries import ApiKey, Webhook
from linkjolt.registry.keyring import load_keyring
from linkjolt.registry.reads import read_changes, read_entries, read_entry
from linkjolt.registry.sealed.entries import open_key, open_webhook
from linkjolt.registry.sealed.start import Preparation, open_sealer, prepare_sealing
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import SharedSettings
from linkjolt.storage.key_file import KeyFileError, create_key_file
from linkjolt.storage.redis import call, connect
from linkjolt.storage.sealing import Sealer, SealError
from tests.linkjolt.registry.sealed.plain import (
    CLICK_1,
    CLICK_2,
    CUSTOMER,
    PLANTED,
    SIGNING_SECRET,
    WEBHOOK_SECRETS,
    everything,
    is_in,
    plant,
    run_command,
)

_CHILD = "tests.linkjolt.registry.sealed.sealing_child"
_VALUES = 5
KEY_NAME = "secret.key"


async def check_sealed(redis: Redis, sealer: Sealer) -> None:
    """Checks that all that was planted opens, and that Redis shows none of it."""
    keyring = await load_keyring(redis, sealer)
    assert (keyring.customer_key, keyring.click_keys) == (CUSTOMER, (CLICK_2, CLICK_1))
    webhooks = await read_entries(redis, Webhook, [1, 2])
    keys = await read_entries(redis, ApiKey, [1, 2, 3])
    for webhook in webhooks:
        assert webhook
        assert tuple(one.secret for one in open_webhook(webhook, sealer).secrets) == WEBHOOK_SECRETS
    for key in keys:
        assert key and open_key(key, sealer).signing_secret == SIGNING_SECRET
    shown = await shown_by(redis)
    assert [secret for secret in PLANTED if is_in(secret, shown)] == []


async def shown_by(redis: Redis) -> bytes:
    """Reads all strings, hashes and streams of Redis."""
    parts: list[bytes] = []
    for key in await call(redis, "KEYS", "*"):
        kind = await call(redis, "TYPE", key)
        if kind == b"string":
            parts.append(await call(redis, "GET", key))
        elif kind == b"hash":
            parts += [b for pair in (await call(redis, "HGETALL", key)).items() for b in pair]
        elif kind == b"stream":
            parts.append(repr(await call(redis, "XRANGE", key, "-", "+")).encode())
    return b"\n".join(parts)


async def test_first_start_makes_the_key_and_seals_the_keyring(
    redis: Redis, tmp_path: Path
) -> None:
    settings = SharedSettings(data=str(tmp_path / "data"))
    sealer = await open_sealer(settings, redis)

    path = tmp_path / "data" / KEY_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    keyring, shown = await load_keyring(redis, sealer), await shown_by(redis)
    assert not is_in(keyring.customer_key, shown) and not is_in(keyring.click_keys[0], shown)
    again = await open_sealer(settings, redis)
    assert again.keys == sealer.keys and await load_keyring(redis, again) == keyring


async def test_plain_secrets_are_sealed_in_place_once(redis: Redis, tmp_path: Path) -> None:
    await plant(redis)
    sealer = Sealer(tmp_path / KEY_NAME)

    assert await prepare_sealing(redis, sealer) == Preparation(created=True, sealed=3 + _VALUES)
    await check_sealed(redis, sealer)
    before = await everything(redis)
    assert await prepare_sealing(redis, Sealer(sealer.path)) == Preparation(False, 0)
    assert await everything(redis) == before
    # Webhooks' processes and edges read what changed.
    _, changes = await read_changes(redis, "0-0", 100, 1)
    assert {(change.kind, change.number) for change in changes} == {
        *(("webhook", number) for number in (1, 2)),
        *(("key", number) for number in (1, 2, 3)),
    }


async def test_processes_that_seal_at_once_agree(
    redis: Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    await plant(redis)
    ends = await asyncio.gather(
        *(
            asyncio.to_thread(run_command, _CHILD, redis_url=redis_server.url, data=tmp_path)
            for _ in range(3)
        )
    )
    assert [end.stderr for end in ends] == [""] * 3
    # Entries are counted by who sealed them.
    assert sum(int(end.stdout) for end in ends) >= _VALUES
    await check_sealed(redis, Sealer(tmp_path / KEY_NAME))


@pytest.mark.parametrize("point", ["sealing_before_value", "sealing_after_value"])
async def test_a_kill_in_the_middle_leaves_all_readable_and_the_next_start_goes_on(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, point: str
) -> None:
    await plant(redis)
    for passage in (1, 2, 3):
        killed = await asyncio.to_thread(
            run_command,
            _CHILD,
            redis_url=redis_server.url,
            data=tmp_path,
            LINKJOLT_FAULT=f"{point}:{passage}",
        )
        if killed.returncode == 0:
            assert passage > 1
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        keyring = await load_keyring(redis, Sealer(tmp_path / KEY_NAME))
        assert keyring.customer_key == CUSTOMER
    await prepare_sealing(redis, Sealer(tmp_path / KEY_NAME))
    await check_sealed(redis, Sealer(tmp_path / KEY_NAME))


COMMANDS = ["edge", "aggregator", "reports", "webhooks run", "up", "keys create", "secrets rotate"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("file", ["missing", "wrong"])
async def test_every_process_refuses_a_file_that_opens_nothing(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, command: str, file: str
) -> None:
    await plant(redis)
    await prepare_sealing(redis, Sealer(tmp_path / "elsewhere" / KEY_NAME))
    data = tmp_path / "data"
    if file == "wrong":
        create_key_file(data / KEY_NAME)
    before = await everything(redis), (data / KEY_NAME).exists() and (data / KEY_NAME).read_bytes()

    words = ["linkjolt", *command.split()]
    if command == "keys create":
        words += ["--name", "n", "--scope", "admin"]
    variables = {"LINKJOLT_CLICKHOUSE_URL": "http://127.0.0.1:1"}
    variables |= {"LINKJOLT_EDGE_PORT": "0", "LINKJOLT_REPORTS_PORT": "0"}
    end = await asyncio.to_thread(
        run_command, *words, redis_url=redis_server.url, data=data, **variables
    )

    assert end.returncode == 1, end.stdout
    message = [line for line in end.stderr.splitlines() if line.startswith("Error: ")][-1]
    assert "secrets in Redis are sealed" in message and "copy the file" in message
    assert str(data / KEY_NAME) in message
    after = await everything(redis), (data / KEY_NAME).exists() and (data / KEY_NAME).read_bytes()
    assert after == before
    assert "Traceback" not in end.stderr


async def test_webhooks_alone_show_that_something_is_sealed(redis: Redis, tmp_path: Path) -> None:
    await plant(redis)
    await prepare_sealing(redis, Sealer(tmp_path / KEY_NAME))
    await call(redis, "DEL", redis_keys.SECRETS)
    (tmp_path / KEY_NAME).rename(tmp_path / "backup")

    with pytest.raises(KeyFileError, match="is missing"):
        await prepare_sealing(redis, Sealer(tmp_path / KEY_NAME))
    assert not (tmp_path / KEY_NAME).exists()
    assert await call(redis, "EXISTS", redis_keys.SECRETS) == 0


async def test_of_two_machines_with_new_keys_one_is_refused_and_keeps_none(
    redis: Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    for turn in range(10):
        await call(redis, "FLUSHALL")
        await plant(redis)
        sealers = [Sealer(tmp_path / f"{turn} {one}" / KEY_NAME) for one in range(3)]
        clients = [connect(redis_server.url) for _ in sealers]
        starts = [
            prepare_sealing(client, sealer) for client, sealer in zip(clients, sealers, strict=True)
        ]
        ends = await asyncio.gather(*starts, return_exceptions=True)
        for client in clients:
            await client.aclose()
        ready = [sealer for sealer, end in zip(sealers, ends, strict=True) if is_ready(end)]
        assert len(ready) == 1
        assert [one.path for one in sealers if one.path.exists()] == [ready[0].path]
        await check_sealed(redis, ready[0])


def is_ready(end: Preparation | BaseException) -> bool:
    assert isinstance(end, Preparation | KeyFileError), end
    return isinstance(end, Preparation)


async def test_a_sealed_value_that_was_moved_opens_nothing(redis: Redis, tmp_path: Path) -> None:
    await plant(redis)
    sealer = Sealer(tmp_path / KEY_NAME)
    await prepare_sealing(redis, sealer)
    for kind in ("webhook", "key"):
        one = await call(redis, "GET", redis_keys.registry_entry(kind, 1))
        moved = one.replace(b'"number":1', b'"number":2')
        await call(redis, "SET", redis_keys.registry_entry(kind, 2), moved)
    webhook, key = await read_entry(redis, Webhook, 2), await read_entry(redis, ApiKey, 2)
    assert webhook and key
    with pytest.raises(SealError):
        open_webhook(webhook, sealer)
    with pytest.raises(SealError):
        open_key(key, sealer)

    customer = await call(redis, "HGET", redis_keys.SECRETS, "customer")
    await call(redis, "HSET", redis_keys.SECRETS, "click:1", customer)
    with pytest.raises(KeyFileError, match="click:1"):
        await prepare_sealing(redis, Sealer(tmp_path / KEY_NAME))


async def test_a_full_redis_does_not_stop_a_start(redis: Redis, tmp_path: Path) -> None:
    await plant(redis)
    maximum = (await call(redis, "CONFIG GET", "maxmemory"))["maxmemory"]
    await call(redis, "CONFIG", "SET", "maxmemory", "1")
    try:
        report = await prepare_sealing(redis, Sealer(tmp_path / KEY_NAME))
        assert report.left == _VALUES
    finally:
        await call(redis, "CONFIG", "SET", "maxmemory", maximum)
    keyring = await load_keyring(redis, Sealer(tmp_path / KEY_NAME))
    assert keyring.customer_key == CUSTOMER
    report = await prepare_sealing(redis, Sealer(tmp_path / KEY_NAME))
    assert (report.sealed, report.left) == (_VALUES, 0)
    await check_sealed(redis, Sealer(tmp_path / KEY_NAME))


async def test_without_redis_a_process_starts_by_its_file_alone(tmp_path: Path) -> None:
    settings = SharedSettings(data=str(tmp_path))
    async with connect("redis://127.0.0.1:1") as nowhere:
        with pytest.raises(KeyFileError, match="Redis cannot be reached"):
            await open_sealer(settings, nowhere)
        assert not settings.secret_key_path().exists()
        create_key_file(settings.secret_key_path())
        assert (await open_sealer(settings, nowhere)).keys
