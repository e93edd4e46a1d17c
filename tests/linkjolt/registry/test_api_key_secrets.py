"""API key secrets have a checksum, and all processes share one keyring."""

import asyncio
import re

import pytest
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.registry import api_key_secrets
from linkjolt.registry.keyring import load_keyring, parse_keyring
from tests.sealers import any_sealer


def test_a_made_secret_is_well_formed_and_never_the_same() -> None:
    secrets = {api_key_secrets.make_secret() for _ in range(200)}
    assert len(secrets) == 200
    assert all(re.fullmatch(r"lj_live_[0-9A-Za-z]{38}", secret) for secret in secrets)
    assert all(api_key_secrets.is_well_formed(secret) for secret in secrets)


def test_every_single_mistyped_character_is_noticed() -> None:
    secret = api_key_secrets.make_secret()
    for place in range(len(secret)):
        wrong = "x" if secret[place] != "x" else "y"
        assert not api_key_secrets.is_well_formed(secret[:place] + wrong + secret[place + 1 :])


@pytest.mark.parametrize("text", ["", "lj_live_", "sk_live_" + "a" * 38, "lj_live_" + "ä" * 38])
def test_other_texts_are_not_well_formed_secrets(text: str) -> None:
    assert not api_key_secrets.is_well_formed(text)
    assert not api_key_secrets.is_well_formed(api_key_secrets.make_secret() + "\n")


def test_a_hint_shows_the_last_four_characters_only() -> None:
    secret = api_key_secrets.make_secret()
    assert api_key_secrets.hint(secret) == f"lj_live_...{secret[-4:]}"


async def test_processes_that_start_at_once_get_the_same_keyring(redis: Redis) -> None:
    keyrings = await asyncio.gather(*(load_keyring(redis, any_sealer()) for _ in range(20)))
    assert len({(keyring.click_keys, keyring.customer_key) for keyring in keyrings}) == 1
    (click_key,) = keyrings[0].click_keys
    assert len(click_key) == len(keyrings[0].customer_key) == 32
    assert click_key != keyrings[0].customer_key


async def test_the_newest_click_key_signs_and_old_ones_still_verify(redis: Redis) -> None:
    first = await load_keyring(redis, any_sealer())
    for number in (2, 10):
        await redis.hset(redis_keys.SECRETS, f"click:{number}", f"key {number}".ljust(32))
    rotated = await load_keyring(redis, any_sealer())
    assert [key[:6].strip() for key in rotated.click_keys[:2]] == [b"key 10", b"key 2"]
    assert rotated.click_keys[2:] == first.click_keys


async def test_a_click_key_removed_after_rotation_stays_removed(redis: Redis) -> None:
    await load_keyring(redis, any_sealer())
    await redis.hset(redis_keys.SECRETS, "click:2", "n" * 32)
    await redis.hdel(redis_keys.SECRETS, "click:1")
    assert (await load_keyring(redis, any_sealer())).click_keys == (b"n" * 32,)


def test_a_keyring_does_not_show_its_keys() -> None:
    keyring = parse_keyring({b"click:1": b"secret one", b"customer": b"secret two"})
    assert keyring is not None
    assert "secret" not in repr(keyring)
