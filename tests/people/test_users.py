"""People are invited, given roles and removed; nobody grants above himself."""

import asyncio

import pytest
from redis.asyncio import Redis

from linkjolt.auth.people.roles import ROLE_SCOPES
from linkjolt.datasets import ACCOUNT_DEFAULT, Account
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import SCOPES, User
from linkjolt.registry.people.entry import Role
from linkjolt.storage.redis import call
from tests.linkjolt.api.client import serving
from tests.linkjolt.registry import samples
from tests.people.browsers import PASSWORD, Browser, People, keys_like

FORM = {"email": "bob@shop.example", "name": "Bob", "role": "viewer"}


def token_of(link: str) -> str:
    return link.rpartition("token=")[2]


async def test_an_invitation_is_shown_once_and_lets_in_once(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, "owner@shop.example")
    made = (await browser.post("/v1/users", FORM)).json()
    assert made["status"] == "invited"
    assert made["link"].startswith("http://127.0.0.1:8001/#/join?token=")
    listed = (await browser.get("/v1/users")).json()["data"]
    assert [one["email"] for one in listed] == ["owner@shop.example", "bob@shop.example"]
    assert all("link" not in one for one in listed)
    async with people.browser() as other:
        token = token_of(made["link"])
        assert (await other.use(token, password=PASSWORD)).status_code == 201
        assert (await other.use(token, password=PASSWORD)).status_code == 401
    shown = (await browser.get(f"/v1/users/{made['id']}")).json()
    assert (shown["status"], shown["two_factor"]) == ("active", False)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": ""}, "email"),
        ({"name": " "}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"role": "admin"}, "role"),
        ({"password": "x"}, "password"),
    ],
)
async def test_a_bad_invitation_names_the_field_and_changes_nothing(
    redis: Redis, change: dict[str, str], field: str
) -> None:
    async with serving(redis) as api:
        status, _, fields = await api.refused("POST", "/v1/users", FORM | change)
        assert (status, fields) == (422, [field])
        assert (await api.get("/v1/users"))["data"] == []


async def test_an_address_is_one_persons_in_the_whole_installation(redis: Redis) -> None:
    async with serving(redis) as api:
        await api.post("/v1/users", FORM)
        again = FORM | {"email": "BOB@shop.example"}
        assert await api.refused("POST", "/v1/users", again) == (409, "conflict", ["email"])
        await api.use_key("admin", account=Account(2))
        assert await api.refused("POST", "/v1/users", FORM) == (409, "conflict", ["email"])
        assert (await api.get("/v1/users"))["data"] == []


async def test_a_removed_person_leaves_nothing_and_the_address_can_be_invited_again(
    redis: Redis,
) -> None:
    async with serving(redis) as api:
        made = await api.post("/v1/users", FORM)
        assert (await api.send("DELETE", f"/v1/users/{made['id']}")).status_code == 204
        assert await api.refused("GET", f"/v1/users/{made['id']}") == (404, "not_found", [])
        keys = await keys_like(redis, "lj:{r}:user:*")
        stored = [await call(redis, "GET", key) for key in keys]
        assert b"bob@" not in b"".join(stored)
        assert (await api.post("/v1/users", FORM))["id"] != made["id"]


@pytest.mark.parametrize("role", ["owner", "manager", "finance"])
async def test_nobody_grants_a_role_that_allows_more(redis: Redis, role: Role) -> None:
    async with serving(redis) as api:
        owner = await api.post("/v1/users", FORM | {"role": "owner"})
        viewer = await api.post("/v1/users", FORM | {"email": "v@shop.example"})
        reads = [scope for scope in SCOPES if scope.endswith(":read")]
        await api.use_key("account:write", *reads)
        more = FORM | {"email": "m@shop.example", "role": role}
        path = f"/v1/users/{viewer['id']}"
        refused = (403, "forbidden", ["role"])
        assert await api.refused("POST", "/v1/users", more) == refused
        assert await api.refused("PATCH", path, {"role": role}) == refused
        assert await api.refused("PATCH", f"/v1/users/{owner['id']}", {"name": "X"}) == refused
        assert await api.refused("DELETE", f"/v1/users/{owner['id']}") == refused
        assert await api.refused("POST", f"/v1/users/{owner['id']}/link", {}) == refused
        assert (await api.send("PATCH", path, {"name": "Vera"})).status_code == 200


async def test_a_key_that_expires_lets_nobody_in_for_longer(redis: Redis) -> None:
    async with serving(redis) as api:
        await api.use_key("admin", expires_at=samples.NOW.replace(year=2099))
        assert await api.refused("POST", "/v1/users", FORM) == (403, "forbidden", ["expires_at"])


async def test_a_key_of_some_networks_lets_nobody_in_from_elsewhere(redis: Redis) -> None:
    async with serving(redis) as api:
        await api.use_key("admin", allowed_networks=("127.0.0.0/8",))
        assert await api.refused("POST", "/v1/users", FORM) == (403, "forbidden", ["role"])


def test_roles_have_the_scopes_that_the_contract_names() -> None:
    manager, finance = {*ROLE_SCOPES["manager"]}, {*ROLE_SCOPES["finance"]}
    assert ROLE_SCOPES["owner"] == ("admin",)
    assert not manager & {"admin", "keys:write", "account:write", "payouts:write"}
    assert {"conversions:write", "links:write", "webhooks:write", "rates:write"} <= manager
    assert {"reports:read", "events:read", "payouts:write"} <= finance
    assert not finance & {"conversions:write", "links:write", "keys:write"}
    assert {*ROLE_SCOPES["viewer"]} == {scope for scope in SCOPES if scope.endswith(":read")}


async def test_the_last_owner_can_be_neither_removed_nor_demoted(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, "owner@shop.example")
    # Who has not accepted yet cannot take over.
    await browser.post("/v1/users", FORM | {"role": "owner"})
    for body in ({"role": "viewer"}, {"status": "disabled"}):
        assert (await browser.send("PATCH", "/v1/users/usr_1", body)).status_code == 409
    assert (await browser.send("DELETE", "/v1/users/usr_1")).status_code == 409
    async with people.browser() as other:
        await people.joined(other, "second@shop.example")
        assert (await other.send("DELETE", "/v1/users/usr_1")).status_code == 204
        assert (await other.send("DELETE", "/v1/users/usr_3")).status_code == 409


async def test_two_owners_who_remove_each_other_at_once_leave_one(people: People) -> None:
    async def remove(user: User) -> bool:
        try:
            await people.registry.delete(User, user.account, user.number, samples.NOW)
        except Rejected as refused:
            assert refused.reason is Reason.conflict
            return False
        return True

    for account in map(Account, range(2, 12)):
        async with people.browser() as browser:
            first = await people.joined(browser, f"a{account}@shop.example", account=account)
            second = await people.joined(browser, f"b{account}@shop.example", account=account)
        removed = await asyncio.gather(remove(first), remove(second))
        assert sorted(removed) == [False, True]


async def test_people_of_another_account_are_out_of_reach(people: People, browser: Browser) -> None:
    await people.joined(browser, "owner@shop.example", account=Account(2))
    other = await people.invite("bob@shop.example", "viewer", ACCOUNT_DEFAULT)
    path = f"/v1/users/usr_{other.number}"
    assert (await browser.get(path)).status_code == 404
    assert (await browser.send("PATCH", path, {"name": "X"})).status_code == 404
    assert (await browser.send("DELETE", path)).status_code == 404
    assert (await browser.post(f"{path}/link", {})).status_code == 404
    assert [one["id"] for one in (await browser.get("/v1/users")).json()["data"]] == ["usr_1"]


async def test_adjustments_say_which_person_made_them(people: People, browser: Browser) -> None:
    await samples.stored_link(people.registry)
    await people.joined(browser, "owner@shop.example")
    early = {"order_id": "order_1", "kind": "approve", "adjustment_id": "a"}
    assert (await browser.post("/v1/adjustments", early)).status_code == 202
    waiting = (await browser.get("/v1/adjustments?order_id=order_1")).json()["data"]
    assert [one["author"] for one in waiting] == ["usr_1"]
