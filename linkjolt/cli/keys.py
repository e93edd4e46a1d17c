"""Runs `linkjolt keys`."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

import click
import msgspec
from redis.asyncio import Redis

from linkjolt.api import api_keys, key_secrets
from linkjolt.api.api_keys import ApiKeyAnswer, ApiKeyForm
from linkjolt.audit_log.entries import AuditSource
from linkjolt.cli.connection import (
    account_option,
    data_option,
    json_option,
    open_registry,
    open_sealed_registry,
    redis_url_option,
    run_work,
)
from linkjolt.registry import keyring
from linkjolt.registry.accounts import find_account
from linkjolt.registry.entries import SCOPES, ApiKey, parse_public_id
from linkjolt.runtime.command_group import CommandGroup
from linkjolt.runtime.instance import find_redis_url
from linkjolt.storage.sealing import Sealer
from reports.terminal.text import printable

T = TypeVar("T")


@click.group(cls=CommandGroup)
def keys() -> None:
    """Create, list, rotate and revoke API keys; rotate the keys of click ids and tokens."""


@keys.command("create")
@click.option("--name", required=True, help="Name of the key.")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="Repeatable."
)
@click.option("--expires-at", help="RFC 3339 instant, such as 2027-01-31T00:00:00Z.")
@click.option("--test", is_flag=True, help="Make a test key: its events stay out of reports.")
@click.option("--campaign", help="With the scope postback: its only campaign, such as cmp_1.")
@account_option
@click.option("--rate-limit", type=int, help="Requests a minute; by default, as settings say.")
@click.option("--affiliate", help="With reading scopes: the only affiliate, such as aff_1.")
@click.option(
    "--network",
    "allowed_networks",
    multiple=True,
    help="Network or address that may use it; repeatable, all by default.",
)
@json_option
@data_option
@redis_url_option
def create_key(
    data: str,
    redis_url: str,
    as_json: bool,
    account: str,
    campaign: str | None,
    affiliate: str | None,
    rate_limit: int | None,
    **fields: object,
) -> None:
    """Create a key and print its secrets, once."""
    bound = {"campaign_id": campaign, "affiliate_id": affiliate}
    form = {**fields, **bound, "rate_limit_per_minute": rate_limit}
    key, secret = run_work(_create_key(find_redis_url(data, redis_url), data, account, form))
    identity = key.id
    if as_json:
        made = {"id": identity, "key": secret, "signing_secret": key.signing_secret}
        click.echo(msgspec.json.encode(made).decode())
    else:
        click.echo(f"{identity}  {secret}\nsigns by  {key.signing_secret}")
        click.echo("They are shown once: store them now.")


async def _create_key(
    url: str, data: str, account: str, fields: Mapping[str, object]
) -> tuple[ApiKey, str]:
    form = _converted(fields, ApiKeyForm)
    async with open_sealed_registry(url, data, "keys create") as registry:
        owner = await find_account(registry.redis, account)
        return await api_keys.create_key(registry, form, owner, datetime.now(UTC))


def _converted(fields: Mapping[str, object], form: type[T]) -> T:
    try:
        return msgspec.convert(fields, form)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error).replace("`", "")) from None


@keys.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap-seconds",
    type=int,
    default=86_400,
    show_default=True,
    help="How long older secrets stay valid; 0 ends them at once.",
)
@account_option
@json_option
@data_option
@redis_url_option
def rotate_key(
    key_id: str, overlap_seconds: int, account: str, as_json: bool, data: str, redis_url: str
) -> None:
    """Give a key a new secret and print it, once."""
    form = _converted({"overlap_seconds": overlap_seconds}, key_secrets.RotationForm)
    number = _key_number(key_id)
    key, secret = run_work(_rotate_key(find_redis_url(data, redis_url), account, number, form))
    if as_json:
        click.echo(msgspec.json.encode({"id": key_id, "key": secret}).decode())
        return
    click.echo(f"{key_id}  {secret}\nIt is shown once: store it now.")
    for old in key.former_secrets:
        click.echo(f"{old.hint}  until {old.expires_at:%Y-%m-%dT%H:%M:%SZ}")


async def _rotate_key(
    url: str, account: str, number: int, form: key_secrets.RotationForm
) -> tuple[ApiKey, str]:
    async with open_registry(url, "keys rotate") as registry:
        owner = await find_account(registry.redis, account)
        return await key_secrets.rotate_key(
            registry, owner, number, form.overlap_seconds, datetime.now(UTC)
        )


def _key_number(key_id: str) -> int:
    number = parse_public_id("key", key_id)
    if number is None:
        raise click.UsageError(f"{key_id} is no key's id, such as key_1")
    return number


@keys.command("list")
@account_option
@json_option
@data_option
@redis_url_option
def list_keys(account: str, as_json: bool, data: str, redis_url: str) -> None:
    """List the keys that are not revoked."""
    found = run_work(_list_keys(find_redis_url(data, redis_url), account))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for key in found:
        expiry = f"until {key.expires_at:%Y-%m-%dT%H:%M:%SZ}" if key.expires_at else "no expiry"
        used = f"used {key.last_used_at:%Y-%m-%dT%H:%M:%SZ}" if key.last_used_at else "never used"
        fields = key.id, key.hint, printable(key.name), ",".join(key.scopes), expiry, used
        click.echo("  ".join(fields))


async def _list_keys(url: str, account: str) -> list[ApiKeyAnswer]:
    async with open_registry(url) as registry:
        owner = await find_account(registry.redis, account)
        found = [key async for key in registry.iterate(ApiKey, owner)]
        return await api_keys.answer_keys(registry, found)


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@account_option
@data_option
@redis_url_option
def revoke_key(key_id: str, account: str, data: str, redis_url: str) -> None:
    """Revoke a key: every edge refuses it within a second."""
    run_work(_revoke_key(find_redis_url(data, redis_url), account, _key_number(key_id)))
    click.echo(f"{key_id} revoked")


async def _revoke_key(url: str, account: str, number: int) -> None:
    async with open_registry(url, "keys revoke") as registry:
        owner = await find_account(registry.redis, account)
        await registry.delete(ApiKey, owner, number, datetime.now(UTC))


@keys.command("rotate-click-key")
@data_option
@redis_url_option
def rotate_click_key(data: str, redis_url: str) -> None:
    """Sign click ids by a new key; the former one verifies them until they are too old to earn."""
    url = find_redis_url(data, redis_url)
    since = _rotated(url, data, "keys rotate-click-key", keyring.rotate_click_key)
    click.echo(f"click ids are signed by a new key from {since} on")


@keys.command("rotate-token-key")
@data_option
@redis_url_option
def rotate_token_key(data: str, redis_url: str) -> None:
    """Sign access tokens by a new key; the former one verifies them until they have expired."""
    since = _rotated(
        find_redis_url(data, redis_url), data, "keys rotate-token-key", keyring.rotate_token_key
    )
    click.echo(f"access tokens are signed by a new key from {since} on")


def _rotated(
    url: str,
    data: str,
    command: str,
    rotate: Callable[[Redis, Sealer, AuditSource], Awaitable[int]],
) -> str:
    """Rotates a key; returns the time from which the new one signs."""

    async def add_key() -> int:
        async with open_sealed_registry(url, data, command) as registry:
            return await rotate(registry.redis, registry.opener, registry.source)

    return f"{datetime.fromtimestamp(run_work(add_key()) // 1_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
