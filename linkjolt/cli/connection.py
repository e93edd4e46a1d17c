"""Connects commands to the registry: their options, and refusals as one line."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

import click
from redis.exceptions import RedisError

from linkjolt.auth.audit_sources import source_of_command
from linkjolt.reasons import Rejected
from linkjolt.registry.accounts import NAME_DEFAULT
from linkjolt.registry.sealed.start import prepare_sealing
from linkjolt.registry.store import Registry
from linkjolt.settings import SharedSettings, load
from linkjolt.storage.redis import connect
from linkjolt.storage.sealing import Sealer

T = TypeVar("T")

data_option = click.option(
    "--data",
    envvar="LINKJOLT_DATA",
    default="./data",
    show_default=True,
    help="Data directory of the running instance.",
)
redis_url_option = click.option(
    "--redis-url",
    envvar="LINKJOLT_REDIS_URL",
    default="",
    help="Redis-protocol server; by default that of the running instance.",
)
account_option = click.option(
    "--account", default=NAME_DEFAULT, show_default=True, help="Account, such as acc_2."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@asynccontextmanager
async def open_registry(url: str, command: str = "") -> AsyncGenerator[Registry]:
    """Connects to a registry; `command` is the one that writes, for the audit log."""
    try:
        redis = connect(url)
    except ValueError as error:
        raise click.ClickException(f"LINKJOLT_REDIS_URL: {error}") from None
    try:
        yield Registry(redis, source=source_of_command(command))
    finally:
        await redis.aclose()


@asynccontextmanager
async def open_sealed_registry(url: str, data: str, command: str = "") -> AsyncGenerator[Registry]:
    """Opens the registry with the key file, which is made where nothing is sealed yet."""
    path = load(SharedSettings, overrides={"data": data}).secret_key_path()
    async with open_registry(url, command) as registry:
        registry.sealer = Sealer(path)
        await prepare_sealing(registry.redis, registry.sealer)
        yield registry


def run_work(work: Coroutine[None, None, T]) -> T:
    """Runs the work; a refusal becomes one line and exit status 1."""
    try:
        return asyncio.run(work)
    except Rejected as error:
        raise click.ClickException(sentence_of(error)) from None
    except RedisError as error:
        raise click.ClickException(f"Redis: {error}") from None


def sentence_of(error: Rejected) -> str:
    """Returns a refusal as one line."""
    return f"{error.field}: {error.message}" if error.field else error.message
