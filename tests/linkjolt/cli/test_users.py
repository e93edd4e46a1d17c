"""`linkjolt users` manages the people of a real registry."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from linkjolt.cli.users import users
from linkjolt.registry.accounts import create_account
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from tests.linkjolt.registry import samples

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(redis: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LINKJOLT_REDIS_URL", redis_server.url)
    monkeypatch.setenv("LINKJOLT_REPORTS_PUBLIC_URL", "https://dash.example/")

    async def invoke(*arguments: str) -> Result:
        # In a thread, for the command starts an event loop of its own.
        return await asyncio.to_thread(CliRunner().invoke, users, arguments)

    return invoke


async def test_a_person_is_invited_listed_reset_and_removed(run: Run) -> None:
    made = await run("invite", "--email", "Ann@shop.example", "--role", "owner", "--json")
    answer = json.loads(made.output)
    assert answer["link"].startswith("https://dash.example/#/join?token=")
    listed = (await run("list")).output
    assert listed == "usr_1  ann@shop.example  Ann  owner  invited  password\n"
    again = await run("reset", "usr_1")
    assert again.output.startswith("usr_1  https://dash.example/#/join?token=")
    assert (await run("remove", "usr_1")).output == "usr_1 removed\n"
    assert json.loads((await run("list", "--json")).output) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("invite", "--email", "ann", "--role", "owner"), "email: is not an e-mail address"),
        (("invite", "--email", "", "--role", "owner"), "at $.email"),
        (("invite", "--email", "a@b.example", "--role", "admin"), "'admin' is not one of"),
        (("reset", "key_1"), "key_1 is no person's id"),
        (("reset", "usr_9"), "there is no such user"),
        (("remove", "usr_9"), "there is no such user"),
        (("list", "--account", "acc_9"), "there is no account acc_9"),
    ],
)
async def test_a_mistake_is_named_and_changes_nothing(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    failed = await run(*arguments)
    assert failed.exit_code != 0
    assert message in failed.output
    assert json.loads((await run("list", "--json")).output) == []


async def test_accounts_have_people_of_their_own(run: Run, redis: Redis) -> None:
    await create_account(Registry(redis), "Other", samples.NOW)
    other = ("--account", "acc_2")
    made = await run("invite", "--email", "eve@other.example", "--role", "owner", *other)
    assert made.exit_code == 0
    assert json.loads((await run("list", "--json")).output) == []
    assert "eve@other.example" in (await run("list", *other)).output
    assert (await run("remove", "usr_1")).exit_code == 1
    assert (await run("remove", "usr_1", *other)).exit_code == 0
