"""Runs `linkjolt accounts`, `keys` and `links` on the registry."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TextIO, TypeVar

import click
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from linkjolt import settings
from linkjolt.api.api_keys import ApiKeyAnswer, ApiKeyForm, key_answer, new_key
from linkjolt.api.csv_cells import csv_line
from linkjolt.api.links import create_links, link_answer
from linkjolt.api.links_csv import EXPORTED, BadCsv, Row, cells_of, read_rows
from linkjolt.datasets import Account
from linkjolt.reasons import Rejected
from linkjolt.registry import api_key_secrets as secrets
from linkjolt.registry import keyring
from linkjolt.registry.accounts import (
    NAME_DEFAULT,
    account_id,
    create_account,
    find_account,
    read_accounts,
    set_disabled,
)
from linkjolt.registry.entries import (
    SCOPES,
    AccountEntry,
    ApiKey,
    Link,
    parse_public_id,
)
from linkjolt.registry.store import Registry
from linkjolt.runtime.command_group import CommandGroup
from linkjolt.runtime.instance import find_redis_url, read_run
from linkjolt.storage.redis import connect
from reports.terminal.text import printable

T = TypeVar("T")
_ROWS_AT_ONCE = 500

_data = click.option(
    "--data",
    envvar="LINKJOLT_DATA",
    default="./data",
    show_default=True,
    help="Data directory of the running instance.",
)
_redis_url = click.option(
    "--redis-url",
    envvar="LINKJOLT_REDIS_URL",
    default="",
    help="Redis-protocol server; by default that of the running instance.",
)
_account = click.option(
    "--account", default=NAME_DEFAULT, show_default=True, help="Account, such as acc_2."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@asynccontextmanager
async def _registry(url: str) -> AsyncGenerator[Registry]:
    try:
        redis = connect(url)
    except ValueError as error:
        raise click.ClickException(f"LINKJOLT_REDIS_URL: {error}") from None
    try:
        yield Registry(redis)
    finally:
        await redis.aclose()


def _run(work: Coroutine[None, None, T]) -> T:
    """Runs the work; a refusal becomes one line and exit status 1."""
    try:
        return asyncio.run(work)
    except Rejected as error:
        raise click.ClickException(_sentence(error)) from None
    except RedisError as error:
        raise click.ClickException(f"Redis: {error}") from None


def _sentence(error: Rejected) -> str:
    return f"{error.field}: {error.message}" if error.field else error.message


@click.group(cls=CommandGroup)
def accounts() -> None:
    """Create, list and disable accounts, each with campaigns, links, keys and events of its own."""


@accounts.command("create")
@click.option("--name", required=True, help="Name of the merchant.")
@_json
@_data
@_redis_url
def create(name: str, as_json: bool, data: str, redis_url: str) -> None:
    """Create an account and print its first key, once: it may do everything in the account."""
    account, key, secret = _run(_create_account(find_redis_url(data, redis_url), name))
    identity = account_id(Account(account.number))
    if as_json:
        made = {"id": identity, "key_id": key.id, "key": secret}
        click.echo(msgspec.json.encode(made).decode())
    else:
        click.echo(f"{identity}  {printable(account.name)}")
        click.echo(f"{key.id}  {secret}")
        click.echo("The key is shown once: store it now.")


async def _create_account(url: str, name: str) -> tuple[AccountEntry, ApiKey, str]:
    async with _registry(url) as registry:
        account = await create_account(registry, name, datetime.now(UTC))
        form = ApiKeyForm(name="first", scopes=("admin",))
        return account, *await _store_key(registry, Account(account.number), form)


@accounts.command("list")
@_json
@_data
@_redis_url
def list_accounts(as_json: bool, data: str, redis_url: str) -> None:
    """List the accounts."""
    rows = [{"id": NAME_DEFAULT, "name": NAME_DEFAULT, "disabled_at": None}]
    for entry in _run(_read_accounts(find_redis_url(data, redis_url))):
        at = f"{entry.disabled_at:%Y-%m-%dT%H:%M:%SZ}" if entry.disabled_at else None
        identity = account_id(Account(entry.number))
        rows.append({"id": identity, "name": entry.name, "disabled_at": at})
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
        return
    for row in rows:
        state = f"disabled at {row['disabled_at']}" if row["disabled_at"] else "active"
        click.echo(f"{row['id']}  {printable(row['name'] or '')}  {state}")


async def _read_accounts(url: str) -> list[AccountEntry]:
    async with _registry(url) as registry:
        return await read_accounts(registry.redis)


@accounts.command("disable")
@click.argument("account", metavar="ID")
@_data
@_redis_url
def disable(account: str, data: str, redis_url: str) -> None:
    """Refuse an account's keys, within a second; its links go on, and their clicks are counted."""
    _run(_set_disabled(find_redis_url(data, redis_url), account, datetime.now(UTC)))
    click.echo(f"{account} disabled")


@accounts.command("enable")
@click.argument("account", metavar="ID")
@_data
@_redis_url
def enable(account: str, data: str, redis_url: str) -> None:
    """Accept a disabled account's keys again."""
    _run(_set_disabled(find_redis_url(data, redis_url), account, None))
    click.echo(f"{account} enabled")


async def _set_disabled(url: str, account: str, now: datetime | None) -> None:
    async with _registry(url) as registry:
        await set_disabled(registry, await find_account(registry.redis, account), now)


@click.group(cls=CommandGroup)
def keys() -> None:
    """Create, list and revoke API keys; rotate the keys of click ids and tokens."""


@keys.command("create")
@click.option("--name", required=True, help="Name of the key.")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="Repeatable."
)
@click.option("--expires-at", help="RFC 3339 instant, such as 2027-01-31T00:00:00Z.")
@click.option("--test", is_flag=True, help="Make a test key: its events stay out of reports.")
@click.option("--campaign", help="With the scope postback: its only campaign, such as cmp_1.")
@_account
@click.option("--rate-limit", type=int, help="Requests a minute; by default, as settings say.")
@_json
@_data
@_redis_url
def create_key(
    data: str,
    redis_url: str,
    as_json: bool,
    account: str,
    campaign: str | None,
    rate_limit: int | None,
    **fields: object,
) -> None:
    """Create a key and print its secrets, once."""
    form = {**fields, "campaign_id": campaign, "rate_limit_per_minute": rate_limit}
    key, secret = _run(_create_key(find_redis_url(data, redis_url), account, form))
    identity = key.id
    if as_json:
        made = {"id": identity, "key": secret, "signing_secret": key.signing_secret}
        click.echo(msgspec.json.encode(made).decode())
    else:
        click.echo(f"{identity}  {secret}\nsigns by  {key.signing_secret}")
        click.echo("They are shown once: store them now.")


async def _create_key(url: str, account: str, fields: Mapping[str, object]) -> tuple[ApiKey, str]:
    try:
        form = msgspec.convert(fields, ApiKeyForm)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error).replace("`", "")) from None
    async with _registry(url) as registry:
        return await _store_key(registry, await find_account(registry.redis, account), form)


async def _store_key(registry: Registry, account: Account, form: ApiKeyForm) -> tuple[ApiKey, str]:
    secret = secrets.make_secret(test=form.test)
    digest, hint = secrets.digest(secret), secrets.hint(secret)
    return await registry.create(new_key(form, account, datetime.now(UTC), digest, hint)), secret


@keys.command("list")
@_account
@_json
@_data
@_redis_url
def list_keys(account: str, as_json: bool, data: str, redis_url: str) -> None:
    """List the keys that are not revoked."""
    found = _run(_list_keys(find_redis_url(data, redis_url), account))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for key in found:
        expiry = f"until {key.expires_at:%Y-%m-%dT%H:%M:%SZ}" if key.expires_at else "no expiry"
        click.echo(f"{key.id}  {key.hint}  {printable(key.name)}  {','.join(key.scopes)}  {expiry}")


async def _list_keys(url: str, account: str) -> list[ApiKeyAnswer]:
    async with _registry(url) as registry:
        owner = await find_account(registry.redis, account)
        return [key_answer(key) async for key in registry.iterate(ApiKey, owner)]


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@_account
@_data
@_redis_url
def revoke_key(key_id: str, account: str, data: str, redis_url: str) -> None:
    """Revoke a key: every edge refuses it within a second."""
    number = parse_public_id("key", key_id)
    if number is None:
        raise click.UsageError(f"{key_id} is no key's id, such as key_1")
    _run(_revoke_key(find_redis_url(data, redis_url), account, number))
    click.echo(f"{key_id} revoked")


async def _revoke_key(url: str, account: str, number: int) -> None:
    async with _registry(url) as registry:
        owner = await find_account(registry.redis, account)
        await registry.delete(ApiKey, owner, number, datetime.now(UTC))


@keys.command("rotate-click-key")
@_data
@_redis_url
def rotate_click_key(data: str, redis_url: str) -> None:
    """Sign click ids by a new key; the former one verifies them until they are too old to earn."""
    url = find_redis_url(data, redis_url)
    click.echo(
        f"click ids are signed by a new key from {_rotated(url, keyring.rotate_click_key)} on"
    )


@keys.command("rotate-token-key")
@_data
@_redis_url
def rotate_token_key(data: str, redis_url: str) -> None:
    """Sign access tokens by a new key; the former one verifies them until they have expired."""
    url = find_redis_url(data, redis_url)
    click.echo(
        f"access tokens are signed by a new key from {_rotated(url, keyring.rotate_token_key)} on"
    )


def _rotated(url: str, rotate: Callable[[Redis], Awaitable[int]]) -> str:
    """Rotates a key; returns the time from which the new one signs."""

    async def add_key() -> int:
        async with _registry(url) as registry:
            return await rotate(registry.redis)

    return f"{datetime.fromtimestamp(_run(add_key()) // 1_000, UTC):%Y-%m-%dT%H:%M:%SZ}"


@click.group(cls=CommandGroup)
def links() -> None:
    """Import and export tracking links."""


@links.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@_account
@_data
@_redis_url
def import_links(file: str, account: str, data: str, redis_url: str) -> None:
    """Create a link for each line of a CSV file.

    Columns: campaign_id, affiliate_id, destination; optional tracking_code, pass_params (all, none
    or names with spaces between), fallback_url. Bad lines are named; the others are imported.
    """
    url = find_redis_url(data, redis_url)
    try:
        rows = list(read_rows(file))
    except BadCsv as error:
        raise click.ClickException(str(error)) from None
    with click.progressbar(length=len(rows), label="links", file=sys.stderr) as bar:
        bad = _run(_import_rows(url, account, rows, _edge_url(data), bar.update))
    for line, error in bad:
        click.echo(f"line {line}: {_sentence(error)}", err=True)
    click.echo(f"{len(rows) - len(bad)} links imported, {len(bad)} lines refused")
    if bad:
        raise SystemExit(1)


async def _import_rows(
    url: str, account: str, rows: Sequence[Row], edge_url: str, advance: Callable[[int], None]
) -> list[tuple[int, Rejected]]:
    bad: list[tuple[int, Rejected]] = []
    async with _registry(url) as registry:
        owner = await find_account(registry.redis, account)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            chunk = rows[start : start + _ROWS_AT_ONCE]
            for row, outcome in zip(
                chunk, await _import_chunk(registry, owner, chunk, edge_url), strict=True
            ):
                if isinstance(outcome, Rejected):
                    bad.append((row.line, outcome))
            advance(len(chunk))
    return bad


async def _import_chunk(
    registry: Registry, owner: Account, rows: Sequence[Row], edge_url: str
) -> list[Link | Rejected]:
    try:
        forms = [row.form for row in rows]
        return await create_links(registry, owner, forms, datetime.now(UTC), edge_url)
    except RedisError as error:
        message = (
            f"Redis: {error}; stopped at line {rows[0].line}, the lines above it were imported"
        )
        raise click.ClickException(message) from None


@links.command("export")
@click.argument("file", type=click.File("w", encoding="utf-8", lazy=True), default="-")
@_account
@_data
@_redis_url
def export_links(file: TextIO, account: str, data: str, redis_url: str) -> None:
    """Write every link as CSV, with its URL, to FILE or standard output."""
    _run(_export(find_redis_url(data, redis_url), account, _edge_url(data), file))


async def _export(url: str, account: str, edge_url: str, file: TextIO) -> None:
    async with _registry(url) as registry:
        owner = await find_account(registry.redis, account)
        file.write(csv_line(EXPORTED, "\n"))
        async for link in registry.iterate(Link, owner):
            file.write(csv_line(cells_of(link_answer(link, edge_url)), "\n"))


def _edge_url(data: str) -> str:
    """Finds the address of links: by the settings, else of the running instance."""
    try:
        shared = settings.load(settings.SharedSettings)
    except settings.BadSetting as error:
        raise click.ClickException(str(error)) from None
    run = None if shared.public_url else read_run(data)
    return run.edge_url if run else shared.edge_url()
