"""Strangers, other sites and other people get nowhere."""

import asyncio
import statistics
import time
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from linkjolt.auth.people.login_throttle import GUESSES_MAX
from linkjolt.datasets import Account
from linkjolt.registry.accounts import create_account, set_disabled
from linkjolt.settings import ReportsSettings
from linkjolt.storage.redis import call
from tests.linkjolt.registry.samples import NOW
from tests.people.browsers import ORIGIN, PASSWORD, Browser, People, keys_like
from tests.people.test_second_factor import code_of, enrol

EMAIL = "ann@shop.example"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": ORIGIN}, 403),
        ({"Origin": ORIGIN, "X-CSRF-Token": "0" * 64}, 403),
        ({"X-CSRF-Token": "right"}, 403),
        ({"Origin": "https://evil.example", "X-CSRF-Token": "right"}, 403),
        ({"Origin": "null", "X-CSRF-Token": "right"}, 403),
        ({"Origin": f"{ORIGIN}.evil.example", "X-CSRF-Token": "right"}, 403),
        ({"Origin": "https://reports.example", "X-CSRF-Token": "right"}, 403),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "same-site", "X-CSRF-Token": "right"}, 403),
        ({"Origin": ORIGIN, "X-CSRF-Token": "rïght"}, 403),
        ({"Origin": ORIGIN, "X-CSRF-Token": "right"}, 201),
    ],
)
async def test_another_site_changes_nothing_by_the_cookie(
    people: People, browser: Browser, headers: dict[str, str], status: int
) -> None:
    await people.joined(browser, EMAIL)
    right = browser.csrf_token
    sent = [
        (name.encode(), (right if text == "right" else text).encode())
        for name, text in headers.items()
    ]
    body = {"name": "Made by another site"}
    answer = await browser.http.post("/v1/affiliates", json=body, headers=sent)
    assert answer.status_code == status, answer.text
    listed = (await browser.get("/v1/affiliates")).json()["data"]
    assert len(listed) == (status == 201)


@pytest.mark.parametrize("path", ["/v1/session", "/v1/session/link"])
async def test_another_site_signs_nobody_in(people: People, browser: Browser, path: str) -> None:
    user = await people.joined(browser, EMAIL)
    token = await people.link(await people.read(user), "reset")
    bodies = {
        "/v1/session": {"email": EMAIL, "password": PASSWORD},
        "/v1/session/link": {"token": token, "password": PASSWORD},
    }
    headers = ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"})
    for one in headers:
        answer = await browser.http.post(path, json=bodies[path], headers=one)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


async def test_a_token_that_an_attacker_chose_is_never_a_session(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)
    chosen = "chosen-by-an-attacker-0123456789abcdefghijk"
    browser.http.cookies.set("linkjolt_session", chosen, domain="reports.example")
    assert await browser.sign_in(EMAIL) == 201
    async with people.browser() as attacker:
        attacker.http.cookies.set("linkjolt_session", chosen, domain="reports.example")
        assert await attacker.status() == 401


async def test_one_of_many_uses_of_a_link_at_once_succeeds(people: People) -> None:
    user = await people.invite(EMAIL)
    token = await people.link(user)
    async with people.browser() as browser:

        async def use(number: int) -> httpx2.Response:
            body = {"token": token, "password": f"password number {number}"}
            return await browser.http.post("/v1/session/link", json=body)

        answers = await asyncio.gather(*map(use, range(8)))
        won = [number for number, answer in enumerate(answers) if answer.status_code == 201]
        assert len(won) == 1
        assert sorted({answer.status_code for answer in answers}) == [201, 401]
        browser.http.cookies.clear()
        assert await browser.sign_in(EMAIL, f"password number {won[0]}") == 201


async def test_one_of_many_uses_of_a_code_at_once_succeeds(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)
    secret, _ = await enrol(browser)
    form = {"email": EMAIL, "password": PASSWORD, "code": code_of(secret)}
    sent = [browser.http.post("/v1/session", json=form) for _ in range(6)]
    answers = await asyncio.gather(*sent)
    assert sorted(answer.status_code for answer in answers) == [201, *[401] * 5]


async def test_a_used_link_ends_the_others_and_an_end_everywhere_all(
    people: People, browser: Browser
) -> None:
    user = await people.joined(browser, EMAIL)
    first, second = [await people.link(await people.read(user), "reset") for _ in range(2)]
    async with people.browser() as other:
        assert (await other.use(first, password="a new long password")).status_code == 201
        assert (await other.use(second, password="stolen password")).status_code == 401
        third = await people.link(await people.read(user), "reset")
        assert (await other.send("DELETE", "/v1/sessions")).status_code == 204
        assert (await other.use(third, password="stolen password")).status_code == 401


async def test_a_link_of_a_removed_person_lets_nobody_in(people: People, browser: Browser) -> None:
    await people.joined(browser, EMAIL)
    invited = await people.invite("bob@shop.example", "viewer")
    token = await people.link(invited)
    assert (await browser.send("DELETE", f"/v1/users/usr_{invited.number}")).status_code == 204
    async with people.browser() as other:
        assert (await other.use(token, password=PASSWORD)).status_code == 401


async def test_a_refused_password_leaves_the_link_as_it_is(people: People) -> None:
    token = await people.link(await people.invite(EMAIL))
    async with people.browser() as browser:
        forms: list[dict[str, Any]] = [
            {},
            {"password": "short"},
            {"password": "é" * 600},
            {"password": PASSWORD, "name": " "},
            {"password": PASSWORD, "email": "other@shop.example"},
        ]
        for form in forms:
            assert (await browser.use(token, **form)).status_code == 422, form
        assert (await browser.use(token, password=PASSWORD)).status_code == 201


@pytest.mark.parametrize(
    "password",
    ["", "x" * 1_024, "x" * 1_025, "é" * 513, "x" * 60_000, "\x00" * 12, "\U0001f511" * 256],
)
async def test_a_long_password_is_refused_alike_for_all_and_costs_nothing(
    people: People, browser: Browser, password: str
) -> None:
    await people.joined(browser, EMAIL)
    async with people.browser() as other:
        known = await other.sign_in(EMAIL, password)
        unknown = await other.sign_in("nobody@shop.example", password)
    assert known == unknown
    too_long = len(password.encode()) > 1_024
    assert known == (422 if too_long else 401)


@pytest.mark.parametrize("token", ["", "x", r"\ud800", r"\u00e9", "*", "../x", r"\u0000"])
async def test_an_invented_token_is_refused(browser: Browser, token: str) -> None:
    body = f'{{"token": "{token}", "password": "{PASSWORD}"}}'
    headers = {"Content-Type": "application/json"}
    answer = await browser.http.post("/v1/session/link", content=body, headers=headers)
    assert answer.status_code in (400, 401), answer.text
    for cookie in ("a", "*", "\u00e9", '"', "a; linkjolt_session=b"):
        sent = [(b"Cookie", f"linkjolt_session={cookie}".encode())]
        refused = await browser.http.get("/v1/session", headers=sent)
        assert refused.status_code == 401, cookie


async def test_every_refusal_of_credentials_is_the_same(people: People, browser: Browser) -> None:
    await people.joined(browser, EMAIL)
    await enrol(browser)
    await people.invite("invited@shop.example", "viewer")
    forms = [
        {"email": "nobody@shop.example", "password": PASSWORD},
        {"email": "invited@shop.example", "password": PASSWORD},
        {"email": "invited@shop.example", "password": ""},
        {"email": EMAIL, "password": "wrong horse battery"},
        {"email": EMAIL, "password": PASSWORD},
        {"email": EMAIL, "password": PASSWORD, "code": "000000"},
        {"email": "", "password": PASSWORD},
    ]
    answers = [await browser.post("/v1/session", form) for form in forms]
    bodies = [{**answer.json(), "request_id": ""} for answer in answers]
    assert [answer.status_code for answer in answers] == [401] * len(forms)
    assert all(body == bodies[0] for body in bodies)


async def test_an_unknown_address_takes_as_long_as_a_known_one(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)

    async def seconds(email: str) -> float:
        begun = time.process_time()
        assert await browser.sign_in(email, "wrong horse battery") == 401
        return time.process_time() - begun

    pairs = [(await seconds(EMAIL), await seconds("nobody@shop.example")) for _ in range(8)]
    known, unknown = (statistics.median(times) for times in zip(*pairs, strict=True))
    # Without the hash of nobody's password it would be a tenth.
    assert unknown > known / 2


async def test_guesses_are_bounded_by_address_and_the_person_signs_in_from_another(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)
    async with people.browser() as attacker:
        attacker.http.headers["X-Forwarded-For"] = "203.0.113.7"
        tries = [
            await attacker.sign_in(EMAIL, "wrong horse battery")
            for _ in range(GUESSES_MAX["address"] + 3)
        ]
        assert tries == [401] * GUESSES_MAX["address"] + [429] * 3
        form = {"email": EMAIL, "password": PASSWORD}
        answer = await attacker.post("/v1/session", form)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
        assert 0 < int(answer.headers["retry-after"]) <= 600
        attacker.http.headers["X-Forwarded-For"] = "198.51.100.1, 203.0.113.7"
        assert await attacker.sign_in("other@shop.example") == 429, "the left part is invented"
    assert await browser.sign_in(EMAIL) == 201


async def test_guesses_of_one_persons_password_are_bounded_over_all_addresses(
    people: People, browser: Browser, redis: Redis
) -> None:
    user = await people.joined(browser, EMAIL)
    async with people.browser() as attacker:
        done: list[int] = []
        for number in range(GUESSES_MAX["email"] + 2):
            attacker.http.headers["X-Forwarded-For"] = f"203.0.113.{number}"
            done.append(await attacker.sign_in(EMAIL, "wrong horse battery"))
        assert done == [401] * GUESSES_MAX["email"] + [429] * 2
    # Not for good: the counters end, and a reset needs none of them.
    keys = await keys_like(redis, "lj:{sign-in}:*")
    assert all([0 < await call(redis, "TTL", key) <= 600 for key in keys])
    assert b"shop" not in b"".join(keys)
    token = await people.link(user, "reset")
    assert (await browser.use(token, password="a new long password")).status_code == 201


async def test_right_sign_ins_do_not_count(people: People, browser: Browser) -> None:
    await people.joined(browser, EMAIL)
    for _ in range(GUESSES_MAX["address"] + 5):
        assert await browser.sign_in(EMAIL) == 201


async def test_many_guesses_at_once_are_bounded_too(people: People, browser: Browser) -> None:
    await people.joined(browser, EMAIL)
    form = {"email": EMAIL, "password": "wrong horse battery"}
    sent = [browser.http.post("/v1/session", json=form) for _ in range(40)]
    statuses = [answer.status_code for answer in await asyncio.gather(*sent)]
    assert statuses.count(401) == GUESSES_MAX["address"]


async def test_an_open_dashboard_is_no_place_to_guess_the_password(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)
    body = {"password": "a new long password", "current_password": "wrong"}
    tries = [
        (await browser.send("PATCH", "/v1/session/user", body)).status_code
        for _ in range(GUESSES_MAX["user"] + 1)
    ]
    assert tries == [422] * GUESSES_MAX["user"] + [429]


async def test_the_cookie_of_another_account_shows_nothing_of_this_one(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)
    assert (await browser.post("/v1/affiliates", {"name": "Canary"})).status_code == 201
    async with people.browser() as other:
        await people.joined(other, "eve@other.example", account=Account(2))
        for path in ("/v1/affiliates", "/v1/users", "/v1/keys", "/v1/webhooks"):
            text = (await other.get(path)).text
            assert "Canary" not in text
            assert EMAIL not in text


async def test_people_of_a_disabled_account_are_out_at_once(
    people: People, browser: Browser
) -> None:
    account = Account((await create_account(people.registry, "Other", NOW)).number)
    user = await people.joined(browser, EMAIL, account=account)
    token = await people.link(user, "reset")
    await set_disabled(people.registry, account, NOW)
    assert await browser.status() == 401
    async with people.browser() as other:
        assert await other.sign_in(EMAIL) == 401
        assert (await other.use(token, password=PASSWORD)).status_code == 401
    await set_disabled(people.registry, account, None)
    assert await browser.status() == 200


async def test_neither_tokens_nor_passwords_are_stored(
    people: People, browser: Browser, redis: Redis
) -> None:
    user = await people.joined(browser, EMAIL)
    secret, codes = await enrol(browser)
    token = await people.link(await people.read(user), "reset")
    keys = await keys_like(redis, "*")
    dump = b"".join([*keys, *[await call(redis, "DUMP", key) for key in keys]])
    for text in (browser.token, token, PASSWORD, secret, *codes, browser.csrf_token):
        assert text.encode() not in dump


async def test_behind_a_proxy_the_origin_is_that_of_the_settings(people: People) -> None:
    settings = ReportsSettings(reports_public_url="https://dash.example/")
    async with people.browser(settings) as browser:
        user = await people.invite(EMAIL)
        body = {"token": await people.link(user), "password": PASSWORD}
        refused = await browser.http.post("/v1/session/link", json=body, headers={"Origin": ORIGIN})
        assert refused.status_code == 403
        assert "https://dash.example" in refused.json()["detail"]
        headers = {"Origin": "https://dash.example"}
        answer = await browser.http.post("/v1/session/link", json=body, headers=headers)
        assert answer.status_code == 201
        assert "Secure" in answer.headers["set-cookie"]
