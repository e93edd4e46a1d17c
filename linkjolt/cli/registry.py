"""Runs `linkjolt accounts` and `linkjolt links` on the registry."""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TextIO

import click
import msgspec
from redis.exceptions import RedisError

from linkjolt import settings
from linkjolt.api import api_keys
from linkjolt.api.api_keys import ApiKeyForm
from linkjolt.api.csv_cells import csv_line
from linkjolt.api.links import create_links, link_answer
from linkjolt.api.links_csv import EXPORTED, BadCsv, Row, cells_of, read_rows
from linkjolt.cli.connection import (
    account_option,
    data_option,
    json_option,
    open_registry,
    open_sealed_registry,
    redis_url_option,
    run_work,
    sentence_of,
)
from linkjolt.datasets import Account
from linkjolt.reasons import Rejected
from linkjolt.registry.accounts import (
    NAME_DEFAULT,
    account_id,
    create_account,
    find_account,
    read_accounts,
    set_disabled,
)
from linkjolt.registry.entries import (
    AccountEntry,
    ApiKey,
    Link,
)
from linkjolt.registry.store import Registry
from linkjolt.runtime.command_group import CommandGroup
from linkjolt.runtime.instance import find_redis_url, read_run
from reports.terminal.text import printable

_ROWS_AT_ONCE = 500


@click.group(cls=CommandGroup)
def accounts() -> None:
    """Create, list and disable accounts, each with campaigns, links, keys and events of its own."""


@accounts.command("create")
@click.option("--name", required=True, help="Name of the merchant.")
@json_option
@data_option
@redis_url_option
def create(name: str, as_json: bool, data: str, redis_url: str) -> None:
    """Create an account and print its first key, once: it may do everything in the account."""
    account, key, secret = run_work(_create_account(find_redis_url(data, redis_url), data, name))
    identity = account_id(Account(account.number))
    if as_json:
        made = {"id": identity, "key_id": key.id, "key": secret}
        click.echo(msgspec.json.encode(made).decode())
    else:
        click.echo(f"{identity}  {printable(account.name)}")
        click.echo(f"{key.id}  {secret}")
        click.echo("The key is shown once: store it now.")


async def _create_account(url: str, data: str, name: str) -> tuple[AccountEntry, ApiKey, str]:
    async with open_sealed_registry(url, data, "accounts create") as registry:
        account = await create_account(registry, name, datetime.now(UTC))
        form = ApiKeyForm(name="first", scopes=("admin",))
        return account, *await api_keys.create_key(
            registry, form, Account(account.number), datetime.now(UTC)
        )


@accounts.command("list")
@json_option
@data_option
@redis_url_option
def list_accounts(as_json: bool, data: str, redis_url: str) -> None:
    """List the accounts."""
    rows = [{"id": NAME_DEFAULT, "name": NAME_DEFAULT, "disabled_at": None}]
    for entry in run_work(_read_accounts(find_redis_url(data, redis_url))):
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
    async with open_registry(url) as registry:
        return await read_accounts(registry.redis)


@accounts.command("disable")
@click.argument("account", metavar="ID")
@data_option
@redis_url_option
def disable(account: str, data: str, redis_url: str) -> None:
    """Refuse an account's keys, within a second; its links go on, and their clicks are counted."""
    run_work(_set_disabled(find_redis_url(data, redis_url), account, datetime.now(UTC)))
    click.echo(f"{account} disabled")


@accounts.command("enable")
@click.argument("account", metavar="ID")
@data_option
@redis_url_option
def enable(account: str, data: str, redis_url: str) -> None:
    """Accept a disabled account's keys again."""
    run_work(_set_disabled(find_redis_url(data, redis_url), account, None))
    click.echo(f"{account} enabled")


async def _set_disabled(url: str, account: str, now: datetime | None) -> None:
    async with open_registry(url, "accounts " + ("disable" if now else "enable")) as registry:
        await set_disabled(registry, await find_account(registry.redis, account), now)


@click.group(cls=CommandGroup)
def links() -> None:
    """Import and export tracking links."""


@links.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@account_option
@data_option
@redis_url_option
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
        bad = run_work(_import_rows(url, account, rows, _edge_url(data), bar.update))
    for line, error in bad:
        click.echo(f"line {line}: {sentence_of(error)}", err=True)
    click.echo(f"{len(rows) - len(bad)} links imported, {len(bad)} lines refused")
    if bad:
        raise SystemExit(1)


async def _import_rows(
    url: str, account: str, rows: Sequence[Row], edge_url: str, advance: Callable[[int], None]
) -> list[tuple[int, Rejected]]:
    bad: list[tuple[int, Rejected]] = []
    async with open_registry(url, "links import") as registry:
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
@account_option
@data_option
@redis_url_option
def export_links(file: TextIO, account: str, data: str, redis_url: str) -> None:
    """Write every link as CSV, with its URL, to FILE or standard output."""
    run_work(_export(find_redis_url(data, redis_url), account, _edge_url(data), file))


async def _export(url: str, account: str, edge_url: str, file: TextIO) -> None:
    async with open_registry(url) as registry:
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
