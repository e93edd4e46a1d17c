"""People are let in, and see what their role allows."""

import re
import time
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Browser, Page, expect
from pyotp.totp import TOTP

from tests.browser.conftest import Dashboard, open_dashboard, post
from tests.browser.test_views import serious
from tests.system.conftest import Instance

PASSWORD = "correct horse battery"


def invite(site: Instance, name: str, role: str) -> str:
    """Invites a person by the API; returns the link."""
    form = {"email": f"{name}@shop.example", "name": name, "role": role}
    return post(site, "/v1/users", form)["link"].partition("#")[2]


def join(browser: Browser, site: Instance, name: str, role: str) -> Dashboard:
    """Opens the dashboard of a person who accepts an invitation."""
    found = open_dashboard(browser, site)
    found.page.goto(f"{found.url}/#{invite(site, name, role)}")
    found.page.get_by_label("New password").fill(PASSWORD)
    found.page.get_by_role("button", name="Set the password").click()
    found.page.get_by_role("heading", level=1, name="Overview").wait_for()
    return found


def sign_in(page: Page, name: str, code: str = "") -> None:
    page.get_by_label("E-mail address").fill(f"{name}@shop.example")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Sign in").click()


def close(*dashboards: Dashboard) -> None:
    for one in dashboards:
        one.page.context.close()
        one.check()


def test_the_first_start_prints_a_link_that_opens_the_dashboard_signed_in(
    browser: Browser, own_instance: Instance
) -> None:
    path = Path(own_instance.data, "owner-link.txt")
    assert str(path) in own_instance.printed
    link = path.read_text().strip()
    assert link not in own_instance.printed
    found = open_dashboard(browser, own_instance)
    page = found.page
    page.goto(link)
    expect(page.get_by_role("heading", level=1, name="You")).to_be_visible()
    assert "token" not in page.url
    page.get_by_role("button", name="Set address and password").click()
    page.get_by_label("E-mail address").fill("owner@shop.example")
    page.get_by_role("textbox", name="Password").fill(PASSWORD)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("owner@shop.example")).to_be_visible()
    found.provoked.add(401)
    page.get_by_role("button", name="Sign out", exact=True).click()
    sign_in(page, "owner")
    expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    again = open_dashboard(browser, own_instance)
    again.provoked.add(401)
    again.page.goto(link)
    expect(again.page.get_by_role("alert")).to_contain_text("was used")
    close(found, again)


def test_an_owner_invites_a_person_who_joins_and_signs_in_with_codes(
    browser: Browser, site: Instance
) -> None:
    owner = join(browser, site, "olga", "owner")
    page = owner.page
    owner.open("settings")
    page.get_by_role("button", name="Invite").click()
    page.get_by_role("textbox", name="Name").fill("Mia")
    page.get_by_role("textbox", name="E-mail address").fill("mia@shop.example")
    page.get_by_label("Role").select_option("manager")
    page.get_by_role("button", name="Make the link").click()
    link = page.locator("pre.secret").inner_text()
    assert serious(page) == []
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("row").filter(has_text="mia@shop.example")).to_contain_text("invited")

    other = open_dashboard(browser, site)
    their = other.page
    their.goto(link)
    expect(their.get_by_role("heading", level=1, name="Join LinkJolt")).to_be_visible()
    assert serious(their) == []
    their.get_by_label("New password").fill(PASSWORD)
    their.get_by_role("button", name="Set the password").click()
    expect(their.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    secret = turn_codes_on(other)
    assert serious(their) == []
    # What the page still asks for as the session ends is refused, too.
    other.provoked.add(401)
    their.get_by_role("button", name="Sign out", exact=True).click()
    expect(their.get_by_role("button", name="Sign in")).to_be_visible()
    assert serious(their) == []
    sign_in(their, "mia")
    expect(their.get_by_role("alert")).to_contain_text("is not right")
    sign_in(their, "mia", TOTP(secret).at(int(time.time()) + 30))
    expect(their.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    close(owner, other)


def turn_codes_on(dashboard: Dashboard) -> str:
    page = dashboard.page
    dashboard.open("you")
    page.get_by_role("button", name="Turn codes on").click()
    page.get_by_label("Your password now").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("img", name=re.compile("QR code of otpauth"))).to_be_visible()
    secret = page.locator("pre.secret").inner_text()
    page.get_by_label("Code that the app shows").fill(TOTP(secret).now())
    page.get_by_role("dialog").get_by_role("button", name="Turn codes on").click()
    panel = page.get_by_role("dialog", name="Recovery codes")
    assert len(panel.locator("pre").inner_text().split()) == 10
    panel.get_by_role("button", name="Close").click()
    return secret


def test_a_viewer_sees_conversions_and_cannot_approve_one(browser: Browser, site: Instance) -> None:
    viewer = join(browser, site, "vera", "viewer")
    page = viewer.page
    viewer.open("conversions")
    menu = page.get_by_role("navigation")
    expect(menu.get_by_role("link", name="Audit log")).to_have_count(1)
    expect(menu.get_by_role("link", name="Webhooks")).to_have_count(0)
    page.get_by_role("button", name="order_5").click()
    panel = page.get_by_role("dialog")
    expect(panel.get_by_text("History")).to_be_visible()
    expect(panel.get_by_role("button")).to_have_text(["Close"])
    panel.get_by_role("button", name="Close").click()
    for view, button in (("links", "New link"), ("affiliates", "New affiliate")):
        viewer.open(view)
        expect(page.get_by_text("Coupon Corner").first).to_be_visible()
        expect(page.get_by_role("button", name=button)).to_have_count(0)
    # Nor by a request of the page's own.
    viewer.provoked.add(403)
    statuses: list[Any] = page.evaluate("""async () => {
      const { csrf_token } = await (await fetch("/v1/session")).json();
      const { data } = await (await fetch("/v1/conversions?from=7d")).json();
      const path = `/v1/conversions/${data[0].conversion_id}/adjustments`;
      const sent = (headers) => fetch(path, { method: "POST",
        headers: { "Content-Type": "application/json", ...headers },
        body: JSON.stringify({ kind: "approve", adjustment_id: "by-a-viewer" }) });
      const answers = [await sent({ "X-CSRF-Token": csrf_token }), await sent({})];
      return Promise.all(answers.map(async (one) => (await one.json()).detail));
    }""")
    assert ["scope" in statuses[0], "X-CSRF-Token" in statuses[1]] == [True, True], statuses
    close(viewer)


def test_a_managers_approval_is_under_the_managers_id(browser: Browser, site: Instance) -> None:
    manager = join(browser, site, "max", "manager")
    page = manager.page
    manager.open("conversions")
    page.get_by_role("button", name="order_4").click()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="order_4").click()
    expect(page.get_by_role("dialog")).to_contain_text(re.compile(r"usr_\d"))
    expect(page.get_by_role("dialog").get_by_role("button", name="Mark as paid")).to_have_count(0)
    close(manager)


def test_signing_out_everywhere_ends_every_open_dashboard(browser: Browser, site: Instance) -> None:
    first = join(browser, site, "sam", "viewer")
    second = open_dashboard(browser, site)
    second.page.goto(second.url)
    sign_in(second.page, "sam")
    expect(second.page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    second.page.reload()
    expect(second.page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    first.open("you")
    second.provoked.add(401)
    first.provoked.add(401)
    first.page.get_by_role("button", name="Sign out everywhere").click()
    expect(first.page.get_by_role("button", name="Sign in")).to_be_visible()
    second.open("links")
    expect(second.page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(second.page.get_by_role("alert")).to_contain_text("has ended")
    close(first, second)


def test_scripts_see_neither_the_cookie_nor_another_origins_page_the_answers(
    browser: Browser, site: Instance
) -> None:
    found = join(browser, site, "carl", "viewer")
    assert found.page.evaluate("document.cookie") == ""
    cookies = found.page.context.cookies()
    named = next(one for one in cookies if one.get("name") == "linkjolt_session")
    assert (named.get("httpOnly"), named.get("sameSite")) == (True, "Strict")
    answer = httpx2.get(f"{found.url}/v1/session", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    close(found)
