"""A second factor is turned on, needed, used once and turned off."""

import time
from urllib.parse import parse_qs, urlsplit

from pyotp.totp import TOTP

from linkjolt.auth.people import second_factor
from tests.people.browsers import PASSWORD, Browser, People

EMAIL = "ann@shop.example"


def code_of(secret: str, steps: int = 0) -> str:
    return TOTP(secret).at(int(time.time()) + 30 * steps)


async def enrol(browser: Browser) -> tuple[str, list[str]]:
    """Turns codes on; returns the secret and the recovery codes."""
    started = await browser.post("/v1/session/totp", {"current_password": PASSWORD})
    assert started.status_code == 201, started.text
    secret = started.json()["secret"]
    confirmed = await browser.post("/v1/session/totp/confirm", {"code": code_of(secret, -1)})
    assert confirmed.status_code == 201, confirmed.text
    return secret, confirmed.json()["recovery_codes"]


async def test_codes_are_needed_once_one_has_confirmed_the_secret(
    people: People, browser: Browser
) -> None:
    user = await people.joined(browser, EMAIL)
    async with people.browser() as other:
        assert await other.sign_in(EMAIL) == 201
        started = await browser.post("/v1/session/totp", {"current_password": PASSWORD})
        uri = urlsplit(str(started.json()["provisioning_uri"]))
        assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
        assert parse_qs(uri.query)["secret"] == [started.json()["secret"]]
        assert await other.sign_in(EMAIL) == 201, "nothing is confirmed yet"
        wrong = await browser.post("/v1/session/totp/confirm", {"code": "000000"})
        assert wrong.status_code == 422
        before = browser.token
        secret, codes = await enrol(browser)
        assert (browser.token != before, len({*codes})) == (True, 10)
        assert await other.status() == 401, "all other sessions ended"
        assert await other.sign_in(EMAIL) == 401
        assert await other.sign_in(EMAIL, PASSWORD, code_of(secret)) == 201
    assert (await people.read(user)).totp


async def test_a_code_works_once_and_no_earlier_one_after_it(
    people: People, browser: Browser
) -> None:
    await people.joined(browser, EMAIL)
    secret, _ = await enrol(browser)
    now, later = code_of(secret), code_of(secret, 1)
    assert await browser.sign_in(EMAIL, PASSWORD, later) == 201
    assert await browser.sign_in(EMAIL, PASSWORD, later) == 401
    assert await browser.sign_in(EMAIL, PASSWORD, now) == 401


async def test_a_recovery_code_works_once_in_any_spelling(people: People, browser: Browser) -> None:
    await people.joined(browser, EMAIL)
    _, codes = await enrol(browser)
    assert await browser.sign_in(EMAIL, PASSWORD, codes[0].replace("-", " ").upper()) == 201
    assert await browser.sign_in(EMAIL, PASSWORD, codes[0]) == 401
    assert await browser.sign_in(EMAIL, PASSWORD, codes[1]) == 201


async def test_turning_codes_off_needs_the_password(people: People, browser: Browser) -> None:
    await people.joined(browser, EMAIL)
    _, codes = await enrol(browser)
    path = "/v1/session/totp/remove"
    assert (await browser.post(path, {"current_password": "wrong"})).status_code == 422
    assert (await browser.post(path, {"current_password": PASSWORD})).status_code == 201
    assert await browser.sign_in(EMAIL) == 201
    again = await browser.post("/v1/session/totp", {"current_password": PASSWORD})
    assert again.status_code == 201
    assert codes


async def test_a_secret_that_is_on_is_not_replaced(people: People, browser: Browser) -> None:
    await people.joined(browser, EMAIL)
    await enrol(browser)
    again = await browser.post("/v1/session/totp", {"current_password": PASSWORD})
    assert again.status_code == 409


async def test_a_reset_needs_a_code_too_unless_it_removes_the_second_factor(
    people: People, browser: Browser
) -> None:
    user = await people.joined(browser, EMAIL)
    _, codes = await enrol(browser)
    user = await people.read(user)
    token = await people.link(user, "reset")
    async with people.browser() as other:
        assert (await other.use(token, password="a new long password")).status_code == 422
        wrong = await other.use(token, password="a new long password", code="123456")
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "code")
        assert await browser.status() == 200
        right = await other.use(token, password="a new long password", code=codes[0])
        assert right.status_code == 201
        assert await browser.status() == 401
        assert await other.sign_in(EMAIL, "a new long password") == 401
        removing = await people.link(await people.read(user), "reset", removes_totp=True)
        assert (await other.use(removing, password="another long one")).status_code == 201
        assert await other.sign_in(EMAIL, "another long one") == 201


def test_only_the_codes_of_a_moment_match() -> None:
    secret, now = second_factor.make_secret(), 1_777_888_800.0
    for steps, matches in ((-2, False), (-1, True), (0, True), (1, True), (2, False)):
        code = TOTP(secret).at(int(now) + 30 * steps)
        assert (second_factor.matching_step(secret, code, now) is not None) == matches
    for text in ("", "12345", "1234567", "٣٣٣٣٣٣", "12345a"):
        assert second_factor.matching_step(secret, text, now) is None
