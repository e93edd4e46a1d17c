"""What people do to get in and out is in the audit log, without what lets them in."""

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.audit_log.entries import AuditEntry
from linkjolt.auth.refused_authentications import SIGN_IN
from linkjolt.datasets import ACCOUNT_DEFAULT, Account
from linkjolt.registry.accounts import create_account
from linkjolt.storage.redis import read_stream
from tests.linkjolt.registry import samples
from tests.people.browsers import ORIGIN, PASSWORD, SETTINGS, Browser, People
from tests.reports.conftest import client_of, make_app

EMAIL = "ann@shop.example"


async def _entries(redis: Redis, stream: str = redis_keys.AUDIT_REGISTRY) -> list[AuditEntry]:
    read = await read_stream(redis, stream, "-")
    return [msgspec.json.decode(fields[b"e"], type=AuditEntry) for _, fields in read]


async def test_each_step_of_a_person_is_recorded_under_the_person(
    people: People, browser: Browser
) -> None:
    user = await people.invite(EMAIL, "viewer")
    token = await people.link(user)
    await browser.use(token, password=PASSWORD)
    assert await browser.sign_in(EMAIL) == 201
    other = "another good password"
    form = {"current_password": PASSWORD, "password": other}
    assert (await browser.send("PATCH", "/v1/session/user", form)).status_code == 201
    assert (await browser.send("DELETE", "/v1/session")).status_code == 204
    assert await browser.sign_in(EMAIL, other) == 201
    session = browser.token
    assert (await browser.send("DELETE", "/v1/sessions")).status_code == 204
    invited, *found = await _entries(people.redis)
    assert (invited.actor, invited.object) == ("system", "usr_1")
    assert [(one.operation, one.status) for one in found] == [
        ("useOneTimeLink", 201),
        ("signIn", 201),
        ("updateOwnUser", 201),
        ("signOut", 204),
        ("signIn", 201),
        ("signOutEverywhere", 204),
    ]
    assert {(one.actor, one.actor_name, one.object) for one in found} == {("usr_1", "ann", "usr_1")}
    assert msgspec.json.decode(found[2].changes) == {
        "password": {"before": "[hidden]", "after": "[hidden]"}
    }
    assert set(msgspec.json.decode(found[1].changes)) == {"signed_in_at"}
    assert (await people.read(user)).signed_in_at is not None
    written = msgspec.json.encode(found).decode()
    for secret in (EMAIL, PASSWORD, other, token, session):
        assert secret not in written


async def test_a_link_that_is_refused_leaves_no_record(people: People, browser: Browser) -> None:
    await people.joined(browser, EMAIL)
    other = await people.invite("bob@shop.example", "viewer")
    path = f"/v1/users/usr_{other.number}"
    assert (await browser.send("PATCH", path, {"status": "disabled"})).status_code == 200
    before = await _entries(people.redis)
    assert (await browser.post(f"{path}/link", {})).status_code == 409
    assert await _entries(people.redis) == before


async def test_refused_sign_ins_are_summed_in_the_log_of_whom_they_name(people: People) -> None:
    account = await create_account(people.registry, "Shop", samples.NOW)
    app = make_app(people.redis, people.clickhouse, SETTINGS)
    async with app.router.lifespan_context(app), client_of(app) as http:
        http.base_url = ORIGIN
        browser = Browser(http)
        await people.joined(browser, EMAIL, "owner", Account(account.number))
        browser.http.cookies.clear()
        for _ in range(3):
            assert await browser.sign_in(EMAIL, "not the password") == 401
        assert await browser.sign_in("nobody@shop.example", "not the password") == 401
        assert (await browser.use("no such token", password=PASSWORD)).status_code == 401
        assert await browser.status() == 401
    found = await _entries(people.redis, redis_keys.AUDIT_REFUSED)
    assert {(one.account, one.key_hint, one.actor, one.count) for one in found} == {
        (account.number, SIGN_IN, "", 3),
        (ACCOUNT_DEFAULT, SIGN_IN, "", 2),
    }
