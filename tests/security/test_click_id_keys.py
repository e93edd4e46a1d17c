"""A click key that was replaced verifies its clicks while they may earn, and nothing else."""

import asyncio
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from ingest.bootstrap import follow_keyring
from ingest.registry_snapshot import SqliteRegistrySnapshot
from linkjolt import redis_keys
from linkjolt.cli.keys import keys
from linkjolt.click_ids import ClickIdGenerator, verify_click_id
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.keyring import FOLLOW_SECONDS, Keyring, load_keyring, rotate_click_key
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.sealing import Sealer
from tests.ingest.conftest import Shop
from tests.ingest.conversions.test_http import ORDER
from tests.linkjolt.registry import samples
from tests.sealers import any_sealer
from tests.waiting import wait_until

DAY_MS = 86_400_000
NOW_MS = 1_900_000_000_000
NEW, OLD, OLDER = b"n" * 32, b"o" * 32, b"p" * 32


def click(key: bytes, time_ms: int) -> str:
    return ClickIdGenerator(1, key, lambda: time_ms * 1_000_000).make(7)


def days(number: float) -> int:
    return round(number * DAY_MS)


KEYRING = Keyring((NEW, OLD, OLDER), b"c" * 32, (NOW_MS - days(10), NOW_MS - days(50), 0), days(30))


@pytest.mark.parametrize(
    ("key", "age_days", "later_days", "genuine"),
    [
        (NEW, 1, 0, True),
        (NEW, 1, 1_000, True),
        (OLD, 11, 0, True),
        # Signed by an edge that had no Redis when the key was replaced.
        (OLD, 9.5, 0, True),
        # By whoever got hold of the former key.
        (OLD, 1, 0, False),
        (OLD, 8.9, 0, False),
        # 10 days ago it was replaced: within the longest window, and after it.
        (OLD, 11, 20.9, True),
        (OLD, 11, 21.1, False),
        (OLDER, 51, 0, False),
        (b"x" * 32, 11, 0, False),
    ],
)
def test_a_former_key_verifies_its_own_clicks_for_the_longest_window(
    key: bytes, age_days: float, later_days: float, genuine: bool
) -> None:
    text = click(key, NOW_MS - days(age_days))
    ref = KEYRING.verify_click(text, NOW_MS + days(later_days))
    assert (ref is not None) is genuine
    assert ref in (None, verify_click_id(text, [key]))


def test_the_newest_key_that_has_begun_signs() -> None:
    keyring = Keyring((NEW, OLD), b"c" * 32, (NOW_MS, 0))
    assert keyring.signing_key(NOW_MS - 1) == OLD
    assert keyring.signing_key(NOW_MS) == NEW
    # As it is read from the copy of a former release.
    assert Keyring((NEW, OLD), b"c" * 32).signing_key(NOW_MS) in (NEW, OLD)


async def test_secrets_of_a_former_release_are_read_and_their_rotation_is_noted(
    redis: Redis,
) -> None:
    for name, key in (("click:1", OLD), ("click:2", NEW), ("customer", b"c" * 32)):
        await redis.hset(redis_keys.SECRETS, name, key)
    registry = Registry(redis)
    for window_days in (45, 7):
        campaign = samples.campaign(f"of {window_days}")
        await registry.create(msgspec.structs.replace(campaign, window_days=window_days))
    before = time.time_ns() // 1_000_000
    keyring = await load_keyring(redis, any_sealer())
    assert keyring.click_keys == (NEW, OLD)
    assert before <= keyring.since_ms[0] <= time.time_ns() // 1_000_000
    assert (keyring.since_ms[1], keyring.window_ms) == (0, days(45))
    assert await load_keyring(redis, any_sealer()) == keyring


async def test_the_copy_of_a_former_release_is_read(tmp_path: Path) -> None:
    class FormerKeyring(msgspec.Struct):
        click_keys: tuple[bytes, ...]
        customer_key: bytes

    snapshot = SqliteRegistrySnapshot(tmp_path)
    former = msgspec.msgpack.encode(FormerKeyring((NEW, OLD), b"c" * 32))
    with sqlite3.connect(tmp_path / "registry.db") as database:
        database.execute("INSERT INTO meta VALUES ('keyring', ?)", (former,))
    database.close()
    keyring = await snapshot.keyring(any_sealer())
    await snapshot.close()
    assert keyring == Keyring((NEW, OLD), b"c" * 32)
    assert keyring
    # When the former key was replaced is not known.
    for key in (NEW, OLD):
        assert keyring.verify_click(click(key, NOW_MS), NOW_MS + days(400))


async def test_a_new_key_signs_once_every_edge_has_it(redis: Redis) -> None:
    first = await load_keyring(redis, any_sealer())
    now_ms = time.time_ns() // 1_000_000
    since_ms = await rotate_click_key(redis, any_sealer())
    keyring = await load_keyring(redis, any_sealer())
    assert since_ms - now_ms > FOLLOW_SECONDS * 1_000
    assert keyring.click_keys[1:] == first.click_keys
    assert keyring.signing_key(now_ms) == first.click_keys[0]
    assert keyring.signing_key(since_ms) == keyring.click_keys[0] != first.click_keys[0]
    with pytest.raises(Rejected) as refused:
        await rotate_click_key(redis, any_sealer())
    assert refused.value.reason is Reason.conflict
    assert (await load_keyring(redis, any_sealer())).click_keys == keyring.click_keys


async def test_a_running_edge_signs_by_a_new_key_and_takes_the_clicks_of_both(
    shop: Shop, tmp_path: Path
) -> None:
    await shop.client.get(f"/{shop.link.tracking_code}")
    (former,) = shop.edge.keyring.click_keys
    await shop.redis.hset(redis_keys.SECRETS, "since:2", f"{time.time_ns() // 1_000_000}")
    await shop.redis.hset(redis_keys.SECRETS, "click:2", NEW.decode())
    snapshot = SqliteRegistrySnapshot(tmp_path / "copy")
    following = asyncio.create_task(follow_keyring(shop.edge, shop.redis, snapshot))

    async def signs_by_new_key() -> bool:
        await shop.client.get(f"/{shop.link.tracking_code}")
        return verify_click_id((await shop.clicks())[-1].click_id, [NEW]) is not None

    await wait_until(signs_by_new_key)
    assert await snapshot.keyring(shop.edge.sealer) == shop.edge.keyring
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await snapshot.close()
    clicks = await shop.clicks()
    assert verify_click_id(clicks[0].click_id, [former])
    for number, one in enumerate((clicks[0], clicks[-1])):
        answer = await shop.post({**ORDER, "order_id": f"{number}", "click_id": one.click_id})
        assert answer.json()["attribution"]["method"] == "click", answer.text


COMMANDS = {
    "rotate-click-key": "click ids are signed",
    "rotate-token-key": "access tokens are signed",
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_the_command_says_when_the_new_key_signs(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, command: str
) -> None:
    words = [command, "--redis-url", redis_server.url, "--data", str(tmp_path)]
    answer = await asyncio.to_thread(CliRunner().invoke, keys, words)
    assert answer.exit_code == 0, answer.output
    assert answer.output.startswith(f"{COMMANDS[command]} by a new key from 2")
    keyring = await load_keyring(redis, Sealer(tmp_path / "secret.key"))
    numbers = len(keyring.click_keys), len(keyring.token_keys)
    assert numbers == ((2, 1) if command == "rotate-click-key" else (1, 2))
    again = await asyncio.to_thread(CliRunner().invoke, keys, words)
    assert again.exit_code == 1
