"""Stores secrets as the version before sealing did, and reads what Redis holds."""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.datasets import ACCOUNT_DEFAULT, live_dataset
from linkjolt.registry.entries import ApiKey, RegistryEntry, Webhook, WebhookSecret
from linkjolt.registry.reads import ENTRY_KINDS
from linkjolt.storage.redis import call
from tests.linkjolt.registry import samples

ROOT = Path(__file__).parents[4]
CUSTOMER, CLICK_1, CLICK_2 = b"customers' plain MAC key, 32 byt", b"1" * 32, b"\xff\x00" * 16
WEBHOOK_SECRETS = ("whsec_AAAAcGxhbnRlZCBzZWNyZXQgb25l", "whsec_BBBBcGxhbnRlZCBzZWNyZXQgdHdv")
SIGNING_SECRET = "lj_sign_PlantedPlantedPlantedPlantedPl"


def webhook(number: int = 1, deleted: datetime | None = None) -> Webhook:
    former = WebhookSecret(WEBHOOK_SECRETS[1], datetime(2100, 1, 1, tzinfo=UTC))
    return Webhook(
        number=number,
        account=live_dataset(ACCOUNT_DEFAULT),
        url="http://127.0.0.1:1/",
        events=("conversion.created",),
        secrets=(WebhookSecret(WEBHOOK_SECRETS[0]), former),
        created_at=samples.NOW,
        deleted_at=deleted,
    )


def api_key(number: int = 1) -> ApiKey:
    key = samples.key(f"lj_live_{number}", "postback")
    return msgspec.structs.replace(key, number=number, signing_secret=SIGNING_SECRET)


async def plant(redis: Redis) -> None:
    """Stores a keyring, two webhooks, one of them deleted, and three keys, all plain."""
    fields: Mapping[str, bytes] = {
        "customer": CUSTOMER,
        "click:1": CLICK_1,
        "click:2": CLICK_2,
        "since:2": b"1000",
    }
    for name, value in fields.items():
        await call(redis, "HSET", redis_keys.SECRETS, name, value)
    entries = [webhook(1), webhook(2, samples.NOW), api_key(1), api_key(2), api_key(3)]
    for entry in entries:
        await plant_entry(redis, entry)


async def plant_entry(redis: Redis, entry: RegistryEntry) -> None:
    kind, number = ENTRY_KINDS[type(entry)], entry.number
    key = redis_keys.registry_entry(kind, number)
    await call(redis, "SET", key, msgspec.json.encode(entry))
    await call(redis, "HSET", redis_keys.REGISTRY_NUMBERS, kind, number)
    await call(redis, "ZADD", redis_keys.registry_index(kind, entry.account), number, number)


async def everything(redis: Redis) -> dict[bytes, bytes]:
    """Dumps every key of Redis."""
    keys: list[bytes] = await call(redis, "KEYS", "*")
    return {key: await call(redis, "DUMP", key) for key in keys}


def is_in(secret: bytes, content: bytes) -> bool:
    """Returns whether a text has the secret: as it is, or as JSON, msgpack or hex hold it."""
    return secret in content or secret.hex().encode() in content.lower()


PLANTED = (
    CUSTOMER,
    CLICK_1,
    CLICK_2,
    *(one.encode() for one in WEBHOOK_SECRETS),
    *(one.removeprefix("whsec_").encode() for one in WEBHOOK_SECRETS),
    SIGNING_SECRET.encode(),
)


def run_command(
    *words: str, redis_url: str, data: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command of linkjolt to its end."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")}
    given = {"LINKJOLT_REDIS_URL": redis_url, "LINKJOLT_DATA": str(data), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-P", "-m", *words],
        env=environ | given | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
