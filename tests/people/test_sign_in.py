"""People sign in, stay signed in and sign out."""

from datetime import UTC, datetime

import msgspec
from redis.asyncio import Redis

from linkjolt.registry.entries import User
from linkjolt.settings import ReportsSettings
from linkjolt.storage.redis import call
from tests.people.browsers import ORIGIN, PASSWORD, Browser, People, keys_like

EMAIL = "ann@shop.example"


async def test_an_invited_person_sets_a_password_and_signs_in_by_it(
    people: People, browser: Browser
) -> None:
    user = await people.joined(browser, EMAIL, "manager")
    assert (await browser.get("/v1/session")).json()["user"]["email"] == EMAIL
    assert (await browser.send("DELETE", "/v1/session")).status_code == 204
    assert await browser.status() == 401
    assert await browser.sign_in(" Ann@Shop.example ") == 201
    answer = (await browser.get("/v1/session")).json()
    assert answer["user"]["id"] == f"usr_{user.number}"
    assert "links:write" in answer["scopes"]
    assert "keys:write" not in answer["scopes"]


async def test_a_session_is_a_key_with_the_scopes_of_the_role(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL, "viewer")
    assert (await browser.get("/v1/campaigns")).status_code == 200
    me = (await browser.get("/v1/me")).json()
    assert (me["key"]["id"], me["key"]["name"]) == ("usr_1", "ann")
    refused = await browser.post("/v1/affiliates", {"name": "Bob"})
    assert refused.status_code == 403
    assert "links:write" in refused.json()["detail"]


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    people: People, browser: Browser
) -> None:
    user = await people.invite(EMAIL)
    answer = await browser.use(await people.link(user), password=PASSWORD)
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name.startswith("linkjolt_session=")
    assert {one.lower() for one in attributes} >= {"httponly", "samesite=strict", "path=/"}
    assert "Secure" not in attributes


async def test_over_https_the_cookie_is_secure_and_of_this_host_alone(people: People) -> None:
    user = await people.invite(EMAIL)
    async with people.browser() as browser:
        browser.http.base_url = "https://reports.example"
        headers = {"Origin": "https://reports.example"}
        body = {"token": await people.link(user), "password": PASSWORD}
        answer = await browser.http.post("/v1/session/link", json=body, headers=headers)
        assert answer.status_code == 201
        assert answer.headers["set-cookie"].startswith("__Host-linkjolt_session=")
        assert "Secure" in answer.headers["set-cookie"].split("; ")
        assert (await browser.http.get("/v1/session")).status_code == 200


async def test_each_sign_in_has_a_new_token_and_ends_the_one_before(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)
    first = browser.token
    assert await browser.sign_in(EMAIL) == 201
    assert browser.token != first
    browser.http.cookies.set("linkjolt_session", first, domain="reports.example")
    assert await browser.status() == 401


async def test_signing_out_everywhere_ends_all_sessions_at_once(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)
    async with people.browser() as other:
        assert await other.sign_in(EMAIL) == 201
        assert (await browser.send("DELETE", "/v1/sessions")).status_code == 204
        assert await other.status() == 401
    assert await browser.status() == 401
    assert await browser.sign_in(EMAIL) == 201


async def test_a_session_ends_when_it_is_not_used(people: People, redis: Redis) -> None:
    settings = ReportsSettings(session_idle_seconds=3600, session_max_seconds=100_000)
    async with people.browser(settings) as browser:
        await people.joined(browser, EMAIL)
        [key] = await keys_like(redis, "lj:session:*")
        assert 3500 < await call(redis, "TTL", key) <= 3600
        await call(redis, "EXPIRE", key, 60)
        assert await browser.status() == 200
        assert await call(redis, "TTL", key) > 3500, "a use moves the end"


async def test_a_session_ends_at_last_however_much_it_is_used(people: People, redis: Redis) -> None:
    settings = ReportsSettings(session_idle_seconds=3600, session_max_seconds=7200)
    async with people.browser(settings) as browser:
        await people.joined(browser, EMAIL)
        [key] = await keys_like(redis, "lj:session:*")
        stored = msgspec.json.decode(await call(redis, "GET", key))
        stored["created_ms"] -= 7_100_000
        await call(redis, "SET", key, msgspec.json.encode(stored), "EX", 50)
        assert await browser.status() == 200
        assert await call(redis, "TTL", key) <= 100
        stored["created_ms"] -= 200_000
        await call(redis, "SET", key, msgspec.json.encode(stored), "EX", 3000)
        assert await browser.status() == 401


async def test_a_changed_role_ends_the_sessions_and_counts_at_once(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, "owner@shop.example")
    async with people.browser() as other:
        user = await people.joined(other, EMAIL, "manager")
        path = f"/v1/users/usr_{user.number}"
        assert (await browser.send("PATCH", path, {"role": "viewer"})).status_code == 200
        assert await other.status() == 401
        assert await other.sign_in(EMAIL) == 201
        assert (await other.post("/v1/affiliates", {"name": "Bob"})).status_code == 403
        assert (await browser.send("PATCH", path, {"status": "disabled"})).status_code == 200
        assert await other.status() == 401
        assert await other.sign_in(EMAIL) == 401


async def test_another_password_ends_the_other_sessions_and_rotates_this_one(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)
    before = browser.token
    async with people.browser() as other:
        assert await other.sign_in(EMAIL) == 201
        wrong = {"password": "another long password", "current_password": "no"}
        refused = await browser.send("PATCH", "/v1/session/user", wrong)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (
            422,
            "current_password",
        )
        right = wrong | {"current_password": PASSWORD}
        assert (await browser.send("PATCH", "/v1/session/user", right)).status_code == 201
        assert browser.token != before
        assert await browser.status() == 200
        assert await other.status() == 401
        assert await other.sign_in(EMAIL) == 401
        assert await other.sign_in(EMAIL, "another long password") == 201


async def test_an_address_is_changed_and_the_former_one_is_free(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)
    body = {"email": "Anna@shop.example", "current_password": PASSWORD}
    assert (await browser.send("PATCH", "/v1/session/user", body)).status_code == 201
    async with people.browser() as other:
        assert await other.sign_in(EMAIL) == 401
        assert await other.sign_in("anna@shop.example") == 201
        await people.joined(other, EMAIL)
    taken = body | {"email": EMAIL}
    answer = await browser.send("PATCH", "/v1/session/user", taken)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "email")
    assert await browser.status() == 200


async def test_a_key_works_beside_a_cookie_and_is_not_mixed_with_it(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)
    headers = {"Authorization": "Bearer lj_live_wrong", "Origin": ORIGIN}
    assert (await browser.http.get("/v1/me", headers=headers)).status_code == 401
    assert (await browser.http.get("/v1/session", headers=headers)).status_code == 401


async def test_an_entry_of_a_person_without_later_fields_is_read() -> None:
    stored = b'{"number":1,"account":1,"email":"","name":"Ann","role":"owner","created_at":'
    user = msgspec.json.decode(stored + b'"2026-05-04T10:00:00Z"}', type=User)
    assert user.created_at == datetime(2026, 5, 4, 10, tzinfo=UTC)
    assert (user.epoch, user.is_active, user.is_owner) == (0, True, False)
