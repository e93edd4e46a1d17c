"""Of known secrets, no file of an installation's data and no value of its Redis shows anything."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt.registry.keyring import Keyring, load_keyring
from linkjolt.runtime.instance import read_run
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.redis import call, connect, rewrite_file
from linkjolt.storage.sealing import Sealer
from tests.linkjolt.registry.sealed import plain
from tests.linkjolt.registry.sealed.plain import PLANTED, ROOT, is_in, plant, run_command
from tests.linkjolt.registry.sealed.test_start import check_sealed, shown_by
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(240)
_SCHEMA = """
CREATE TABLE entries (
    kind TEXT, number INTEGER, handle TEXT, body BLOB, PRIMARY KEY (kind, number)
) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB);
"""


@contextmanager
def running(data: Path, log: Path) -> Generator[None]:
    """Runs `linkjolt up` with a demo on the data directory."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")}
    command = ["linkjolt", "up", "--demo", "--data", str(data), "--edges", "2"]
    with open(log, "ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--edge-port", "0", "--reports-port", "0"],
            env=environ | {"PYTHONPATH": str(ROOT)},
            stdout=file,
            stderr=file,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


async def served(data: Path, log: Path) -> Redis:
    """Waits until the instance serves; returns a client of its Redis."""
    await wait_until(lambda: b"A report" in log.read_bytes(), 60)
    run = read_run(str(data))
    assert run
    return connect(run.redis_url)


async def plant_former_version(data: Path) -> None:
    """Leaves what the version before leaves: a plain append-only file, and a plain snapshot."""
    server = RedisServer(data / "redis")
    child = server.start()
    try:
        await asyncio.to_thread(server.wait_ready, child)
        async with connect(server.url) as redis:
            await plant(redis)
    finally:
        child.terminate()
        child.wait(20)
    (data / "edge").mkdir()
    keyring = Keyring((plain.CLICK_2, plain.CLICK_1), plain.CUSTOMER, (1000, 0))
    with sqlite3.connect(data / "edge" / "registry.db") as database:
        database.executescript(_SCHEMA)
        # Rows that were replaced leave their bytes in free pages.
        for number in range(200):
            name = f"of before {number}"
            database.execute("INSERT INTO meta VALUES (?, ?)", (name, plain.CUSTOMER * 40))
        database.execute("DELETE FROM meta")
        database.execute(
            "INSERT INTO meta VALUES ('keyring', ?)", (msgspec.msgpack.encode(keyring),)
        )
    database.close()


def files_with(secrets: list[bytes] | tuple[bytes, ...], *folders: Path) -> list[tuple[str, bytes]]:
    """Finds the files that show a secret, and which."""
    found: list[tuple[str, bytes]] = []
    for folder in folders:
        paths = folder.rglob("*") if folder.is_dir() else [folder]
        for path in paths:
            # The warehouse merges and deletes parts meanwhile.
            with suppress(FileNotFoundError):
                content = path.read_bytes() if path.is_file() else b""
                found += [(path.name, one) for one in secrets if is_in(one, content)]
    return found


async def check_nothing_shows(
    redis: Redis, data: Path, log: Path, secrets: list[bytes] | tuple[bytes, ...]
) -> None:
    await wait_until(lambda: not files_with(secrets, data, log), 60)
    shown = await shown_by(redis)
    assert [secret for secret in secrets if is_in(secret, shown)] == []


@pytest.mark.long
async def test_what_the_version_before_stored_plain_is_gone_after_a_start(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "up.log"
    data.mkdir(mode=0o700)
    await plant_former_version(data)
    assert {secret for _, secret in files_with(PLANTED, data)} >= set(PLANTED) - {
        one.removeprefix("whsec_").encode() for one in plain.WEBHOOK_SECRETS
    }
    with running(data, log):
        redis = await served(data, log)
        await check_nothing_shows(redis, data, log, PLANTED)
        await check_sealed(redis, Sealer(data / "secret.key"))
        await redis.aclose()


@pytest.mark.long
async def test_what_is_made_shows_nowhere_in_any_file(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "up.log"
    with running(data, log):
        redis = await served(data, log)
        run = read_run(str(data))
        assert run
        key = msgspec.json.decode((data / "demo.json").read_bytes())["key"]
        headers = {"Authorization": f"Bearer {key}"}
        secrets: list[bytes] = []
        hook = {"url": "https://shop.example/hook", "events": ["conversion.created"]}
        name = {"name": "n", "scopes": ["postback"]}
        for url in (run.edge_url, run.reports_url):
            async with httpx2.AsyncClient(base_url=url, headers=headers) as client:
                webhook = (await client.post("/v1/webhooks", json=hook)).json()
                path = f"/v1/webhooks/{webhook['id']}/rotate"
                turned = (await client.post(path, json={"overlap_seconds": 60})).json()
                made = (await client.post("/v1/keys", json=name)).json()
                again = (await client.post(f"/v1/keys/{made['id']}/signing-secret")).json()
                for one in (webhook["secret"], turned["secret"]):
                    secrets += [one.encode(), one.removeprefix("whsec_").encode()]
                secrets += [one["signing_secret"].encode() for one in (made, again)]
        keyring = await load_keyring(redis, Sealer(data / "secret.key"))
        secrets += [keyring.customer_key, *keyring.click_keys]
        sealing = [key.value for key in Sealer(data / "secret.key").keys]
        rotated = run_command("linkjolt", "secrets", "rotate", redis_url="", data=data)
        assert rotated.returncode == 0, rotated.stderr
        await rewrite_file(redis)
        await check_nothing_shows(redis, data, log, secrets + sealing)
        assert await call(redis, "PING")
        await redis.aclose()
    assert files_with(secrets + sealing, data, log) == []
