"""Runs `linkjolt secrets`: rotates the keys that seal secrets in Redis."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import click
from redis.asyncio import Redis

from ingest.registry_snapshot import SqliteRegistrySnapshot
from linkjolt.auth.audit_sources import source_of_command
from linkjolt.registry.sealed.rotation import add_key, drop_others, seal_again
from linkjolt.registry.sealed.start import prepare_sealing
from linkjolt.runtime.command_group import CommandGroup
from linkjolt.runtime.instance import find_redis_url, lock
from linkjolt.settings import SharedSettings, load
from linkjolt.storage.key_file import KeyFileError
from linkjolt.storage.redis import RedisError, connect, rewrite_file
from linkjolt.storage.sealing import Sealer, SealError


@click.group(cls=CommandGroup)
def secrets() -> None:
    """Rotate the keys that seal secrets in Redis."""


@secrets.command()
@click.option("--data", help="Data directory of the running instance.")
@click.option("--redis-url", help="Redis-protocol server; by default the running instance's.")
@click.option(
    "--prepare",
    is_flag=True,
    help="Only add the next key, to be copied to other machines before the rotation.",
)
def rotate(data: str | None, redis_url: str | None, *, prepare: bool) -> None:
    """Seal everything by a new key, then drop the former one from the key file.

    Running processes go on meanwhile. After an interruption, run it again: it goes on. Where other
    machines have a copy of the key file, run it with --prepare first and copy the file to them.
    """
    settings = load(SharedSettings, overrides={"data": data, "redis_url": redis_url})
    url = find_redis_url(settings.data, settings.redis_url)
    path = settings.secret_key_path()
    sealer = Sealer(path)
    # Before anything is written, a lock among it.
    _run(url, lambda redis: _check(redis, sealer))
    with lock(path.with_name(f"{path.name}.lock"), str(path)):
        if prepare:
            _run(url, lambda redis: _prepare(redis, sealer))
        else:
            is_own = not settings.redis_url
            _run(url, lambda redis: _rotate(redis, sealer, settings.data, is_own=is_own))


def _run(url: str, work: Callable[[Redis], Coroutine[None, None, None]]) -> None:
    async def connected() -> None:
        async with connect(url) as redis:
            await work(redis)

    try:
        asyncio.run(connected())
    except RedisError as error:
        raise click.ClickException(f"Redis: {error}; run the command again") from None


async def _check(redis: Redis, sealer: Sealer) -> None:
    await prepare_sealing(redis, sealer)


async def _prepare(redis: Redis, sealer: Sealer) -> None:
    await add_key(redis, sealer)
    click.echo(f"the next key waits in {sealer.path}: copy the file to every other machine,")
    click.echo("then run linkjolt secrets rotate")


async def _rotate(redis: Redis, sealer: Sealer, data: str, *, is_own: bool) -> None:
    rotation = await seal_again(redis, sealer, source_of_command("secrets rotate"))
    await _seal_snapshot(Path(data, "edge"), sealer)
    drop_others(sealer, rotation)
    if is_own:
        # Its append-only file still holds what the former key opens.
        await rewrite_file(redis)
    click.echo(f"{rotation.sealed} values were sealed by a new key, and the former one is dropped")
    click.echo(f"copy {sealer.path.name} to every other machine that has it")


async def _seal_snapshot(folder: Path, sealer: Sealer) -> None:
    """Seals the copy from which edges start without Redis."""
    if not (folder / "registry.db").exists():
        return
    snapshot = SqliteRegistrySnapshot(folder)
    try:
        if keyring := await snapshot.keyring(sealer):
            await snapshot.store_keyring(keyring, sealer)
    except SealError as error:
        raise KeyFileError(f"the copy of the registry in {folder}: {error}") from None
    finally:
        await snapshot.close()
