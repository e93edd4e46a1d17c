"""Runs `linkjolt users`: invites, resets, lists and removes people."""

from datetime import UTC, datetime
from typing import get_args

import click
import msgspec

from linkjolt import settings
from linkjolt.api.access.users import (
    UserAnswer,
    UserForm,
    UserLinkAnswer,
    make_audited_link,
    make_link,
    new_user,
    user_answer,
)
from linkjolt.auth.people.one_time_links import OneTimeLinks
from linkjolt.cli.connection import (
    account_option,
    data_option,
    json_option,
    open_registry,
    redis_url_option,
    run_work,
)
from linkjolt.registry.accounts import find_account
from linkjolt.registry.entries import User, parse_public_id
from linkjolt.registry.people.entry import Role
from linkjolt.runtime.command_group import CommandGroup
from linkjolt.runtime.instance import find_redis_url, read_run
from reports.terminal.text import printable


@click.group(cls=CommandGroup)
def users() -> None:
    """Invite, reset, list and remove the people who sign in."""


@users.command("invite")
@click.option("--email", required=True, help="Address by which the person signs in.")
@click.option("--name", default="", help="Name of the person; by default from the address.")
@click.option("--role", required=True, type=click.Choice(get_args(Role)))
@account_option
@json_option
@data_option
@redis_url_option
def invite(as_json: bool, account: str, data: str, redis_url: str, **fields: str) -> None:
    """Invite a person, and print the link that lets in once."""
    name = fields["name"] or fields["email"].partition("@")[0]
    try:
        form = msgspec.convert({**fields, "name": name}, UserForm)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error).replace("`", "")) from None
    url, reports_url = find_redis_url(data, redis_url), _reports_url(data)
    _print_link(run_work(_invite(url, account, reports_url, form)), as_json)


async def _invite(url: str, account: str, reports_url: str, form: UserForm) -> UserLinkAnswer:
    now = datetime.now(UTC)
    async with open_registry(url, "users invite") as registry:
        owner = await find_account(registry.redis, account)
        user = await registry.create(new_user(form, owner, now))
        return await make_link(OneTimeLinks(registry.redis), user, reports_url, now)


@users.command("reset")
@click.argument("user_id", metavar="ID")
@click.option("--remove-two-factor", is_flag=True, help="Turn codes off, too: the app is lost.")
@account_option
@json_option
@data_option
@redis_url_option
def reset(
    user_id: str, remove_two_factor: bool, as_json: bool, account: str, data: str, redis_url: str
) -> None:
    """Print a link by which a person sets a new password, once; the present one works until then.

    For who has not accepted an invitation it is a new invitation.
    """
    url, reports_url, number = find_redis_url(data, redis_url), _reports_url(data), _number(user_id)
    made = run_work(_reset(url, account, reports_url, number, removes_totp=remove_two_factor))
    _print_link(made, as_json)


async def _reset(
    url: str, account: str, reports_url: str, number: int, *, removes_totp: bool
) -> UserLinkAnswer:
    now = datetime.now(UTC)
    async with open_registry(url, "users reset") as registry:
        user = await registry.get(User, await find_account(registry.redis, account), number)
        return await make_audited_link(registry, user, reports_url, now, removes_totp=removes_totp)


@users.command("list")
@account_option
@json_option
@data_option
@redis_url_option
def list_users(account: str, as_json: bool, data: str, redis_url: str) -> None:
    """List the people."""
    found = run_work(_list(find_redis_url(data, redis_url), account))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for user in found:
        codes = "two factors" if user.two_factor else "password"
        email = printable(user.email or "no address yet")
        name = printable(user.name)
        click.echo(f"{user.id}  {email}  {name}  {user.role}  {user.status}  {codes}")


async def _list(url: str, account: str) -> list[UserAnswer]:
    async with open_registry(url) as registry:
        owner = await find_account(registry.redis, account)
        return [user_answer(user) async for user in registry.iterate(User, owner)]


@users.command("remove")
@click.argument("user_id", metavar="ID")
@account_option
@data_option
@redis_url_option
def remove(user_id: str, account: str, data: str, redis_url: str) -> None:
    """Remove a person: all sessions end at once. The last owner cannot be removed."""
    run_work(_remove(find_redis_url(data, redis_url), account, _number(user_id)))
    click.echo(f"{user_id} removed")


async def _remove(url: str, account: str, number: int) -> None:
    async with open_registry(url, "users remove") as registry:
        owner = await find_account(registry.redis, account)
        await registry.delete(User, owner, number, datetime.now(UTC))


def _number(user_id: str) -> int:
    number = parse_public_id("user", user_id)
    if number is None:
        raise click.UsageError(f"{user_id} is no person's id, such as usr_1")
    return number


def _print_link(made: UserLinkAnswer, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(made).decode())
        return
    click.echo(f"{made.id}  {made.link}")
    click.echo(f"It lets in once, until {made.link_expires_at:%Y-%m-%dT%H:%M:%SZ}.")


def _reports_url(data: str) -> str:
    """Finds the dashboard's address: by the settings, else of the running instance."""
    shared = settings.load(settings.SharedSettings)
    run = None if shared.reports_public_url else read_run(data)
    return run.reports_url if run else shared.reports_url()
