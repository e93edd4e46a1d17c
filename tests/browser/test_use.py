"""The dashboard serves its users' tasks, from the first click to the refund."""

import csv
import re
import shlex
import subprocess
import time
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Dashboard, click, open_dashboard, post
from tests.system.conftest import Instance, wait_for


@pytest.mark.long
def test_an_empty_instance_shows_how_to_send_the_first_click_and_then_shows_it(
    browser: Browser, own_instance: Instance
) -> None:
    assert f"Dashboard:  {own_instance.run['reports_url']}" in own_instance.printed
    dashboard = open_dashboard(browser, own_instance)
    page = dashboard.page
    dashboard.log_in(own_instance.demo("key"))
    line = page.locator(".first pre").first
    expect(line).to_contain_text("curl -i -A")
    subprocess.run(shlex.split(line.inner_text()), check=True, capture_output=True, timeout=10)
    card = page.get_by_role("button", name=re.compile("^Clicks"))
    # A new instance migrates its warehouse first, on two busy cores for some seconds.
    expect(card).to_contain_text("Clicks1", timeout=15_000)
    expect(page.locator(".first")).to_have_count(0)
    page.context.close()
    dashboard.check()


def test_a_click_appears_on_live_within_two_seconds(dashboard: Dashboard, site: Instance) -> None:
    page = dashboard.page
    dashboard.open("live")
    expect(page.get_by_role("status")).to_contain_text("Waiting for the first event")
    entries = page.locator(".feed li")
    code = site.demo("link").rpartition("/")[2]
    began = time.monotonic()
    click(site, code, 2)
    expect(entries.first).to_contain_text(code)
    # Accepted to visible is 1.5 s at most, and the browser draws it.
    assert time.monotonic() - began < 2
    page.get_by_role("button", name="Pause").click()
    click(site, code, 2)
    expect(page.get_by_role("status")).to_contain_text("Paused; 1 newer")
    expect(entries).to_have_count(1)
    page.get_by_role("button", name="Go on").click()
    expect(entries).to_have_count(2)


def test_a_click_on_a_row_filters_and_its_chip_takes_that_back(dashboard: Dashboard) -> None:
    page = dashboard.page
    card = page.get_by_role("button", name=re.compile("^Clicks"))
    expect(card).to_contain_text(re.compile(r"Clicks\d"))
    whole = card.inner_text()
    page.get_by_role("button", name="Coupon Corner").click()
    expect(page.get_by_role("group", name="Filters")).to_contain_text("Affiliate = Coupon Corner")
    expect(card).not_to_have_text(whole.replace("\n", ""))
    assert "f.affiliate=aff_2" in page.url
    page.get_by_role("button", name="Remove the filter Affiliate").click()
    expect(page.get_by_role("group", name="Filters")).to_have_count(0)
    assert "f.affiliate" not in page.url


@pytest.mark.long
def test_the_report_builder_drills_down_and_its_address_says_all(
    dashboard: Dashboard, browser: Browser, site: Instance
) -> None:
    page = dashboard.page
    dashboard.open("builder", "?by=affiliate,country&cols=clicks,conversions&sort=-clicks")
    table = page.get_by_role("region", name="Report")
    table.get_by_role("button", name="Coupon Corner").first.click()
    expect(page.get_by_role("group", name="Filters")).to_contain_text("Affiliate = Coupon Corner")
    expect(table.get_by_role("columnheader")).to_have_count(3)
    expect(table.get_by_role("button", name="US", exact=True)).to_be_visible()
    page.get_by_role("button", name="Conversions", exact=True).click()
    expect(page).to_have_url(re.compile("sort=-conversions"))
    expect(page.get_by_role("columnheader", name=re.compile("^Conversions"))).to_have_attribute(
        "aria-sort", "descending"
    )
    other = open_dashboard(browser, site)
    other.log_in(site.demo("key"))
    other.page.goto(page.url)
    colleague = other.page.get_by_role("region", name="Report")
    expect(colleague).to_contain_text("Totals")
    assert colleague.inner_text() == table.inner_text()
    other.page.context.close()


def test_the_time_zone_is_switched_and_times_are_shown_in_it(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.open("builder", "?interval=day&by=,&from=7d")
    table = page.get_by_role("region", name="Report")
    expect(table).to_contain_text("00:00")
    page.get_by_role("combobox", name="Time zone").select_option("Asia/Kathmandu")
    expect(page).to_have_url(re.compile("tz=Asia%2FKathmandu"))
    expect(page.get_by_text("times in Asia/Kathmandu")).to_be_visible()
    expect(table).to_contain_text("00:00")
    dashboard.open("builder", "?interval=hour&by=,&tz=Asia/Kathmandu")
    expect(page.get_by_text("times in Asia/Kathmandu")).to_be_visible()


def test_a_report_is_saved_as_csv_with_the_rows_that_are_shown(
    dashboard: Dashboard, tmp_path: Path
) -> None:
    page = dashboard.page
    dashboard.open("builder", "?by=country&cols=clicks,conversions&cmp=none")
    expect(page.get_by_role("button", name="US", exact=True)).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as CSV").click()
    path = tmp_path / "report.csv"
    saved.value.save_as(path)
    assert saved.value.suggested_filename == "linkjolt-report.csv"
    with path.open(newline="") as file:
        rows = {row["country"]: row for row in csv.DictReader(file)}
    assert {"US", "DE", "BR"} <= rows.keys()
    shown = (
        page.locator("tr", has=page.get_by_role("button", name="US", exact=True))
        .inner_text()
        .split("\t")
    )
    assert [value.strip() for value in shown[1:]] == [
        rows["US"]["clicks"],
        rows["US"]["conversions"],
    ]


def test_an_order_is_refunded_and_the_history_says_so(dashboard: Dashboard, site: Instance) -> None:
    page = dashboard.page
    dashboard.provoked.add(422)
    dashboard.open("conversions", "?q=order_3")
    page.get_by_role("button", name="order_3").click()
    page.get_by_role("button", name="Refund").click()
    page.get_by_label("Amount in USD").fill("100")
    page.get_by_role("button", name="Refund").last.click()
    expect(page.get_by_role("alert").filter(has_text="amount_exceeds")).to_be_visible()
    page.get_by_label("Amount in USD").fill("9.90")
    page.get_by_role("button", name="Refund").last.click()
    row = page.get_by_role("row").filter(has_text="order_3")
    expect(row).to_contain_text("USD")

    def value() -> float:
        params = {"order_id": "order_3"}
        found = site.api("reports_url", path="/v1/conversions", params=params).json()
        return found["data"][0]["net_value"]

    wait_for("the refund is in the list", lambda: value() == 40)
    page.reload()
    expect(row).to_contain_text("40.00")
    page.get_by_role("button", name="order_3").click()
    expect(page.get_by_role("dialog")).to_contain_text("refunded")


def test_the_unattributed_inbox_gives_a_conversion_to_its_affiliate(
    dashboard: Dashboard,
) -> None:
    page = dashboard.page
    dashboard.open("conversions", "?attribution=none")
    page.get_by_role("button", name="forged").click()
    page.get_by_role("button", name="Attribute", exact=True).click()
    page.get_by_role("textbox", name="Tracking code").fill("corner")
    page.get_by_role("button", name="Attribute", exact=True).last.click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    dashboard.open("conversions", "?q=forged")
    page.get_by_role("button", name="forged").click()
    expect(page.get_by_role("dialog")).to_contain_text("manual")


def test_a_link_is_made_tried_and_changed(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.open("links")
    dashboard.provoked.add(422)
    page.get_by_role("button", name="New link").click()
    page.get_by_label("Destination").fill("ftp://shop.example/")
    page.get_by_role("button", name="Make the link").click()
    expect(page.get_by_role("alert").filter(has_text="destination")).to_be_visible()
    page.get_by_label("Destination").fill("https://shop.example/x?a={affiliate_id}&s={sub2}")
    page.get_by_label("Tracking code (made up when left empty)").fill("made-here")
    page.get_by_role("button", name="Make the link").click()
    panel = page.get_by_role("dialog", name="made-here")
    expect(panel.get_by_role("img", name=re.compile("QR code"))).to_be_visible()
    panel.get_by_label("Test click with").fill("sub2=tried")
    panel.get_by_role("button", name="Show where it leads").click()
    expect(panel).to_contain_text(re.compile(r"https://shop\.example/x\?a=aff_\d&s=tried"))
    panel.get_by_role("button", name="Change").click()
    page.get_by_role("dialog").get_by_label("Status").select_option("disabled")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row").filter(has_text="made-here")).to_contain_text("disabled")


def test_a_key_is_made_shown_once_and_works(dashboard: Dashboard, site: Instance) -> None:
    page = dashboard.page
    dashboard.open("settings")
    page.get_by_role("button", name="New key").click()
    page.get_by_role("textbox", name="Name").fill("reader")
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator("pre.secret").inner_text()
    head = {"Authorization": f"Bearer {secret}"}
    answer = httpx2.get(site.run["reports_url"] + "/v1/me", headers=head)
    assert answer.json()["key"]["scopes"] == ["reports:read"]
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("row").filter(has_text="reader")).to_be_visible()
    assert secret not in page.content()


def test_a_webhook_is_tested_and_its_delivery_is_looked_at(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.open("webhooks")
    page.get_by_role("button", name="Send a test").click()
    page.get_by_role("button", name="test", exact=True).first.click()
    expect(page.get_by_role("dialog")).to_contain_text("conv_test")


def test_a_wrong_key_is_refused_with_its_code_and_request(browser: Browser, site: Instance) -> None:
    dashboard = open_dashboard(browser, site)
    page = dashboard.page
    page.goto(dashboard.url)
    page.get_by_label("API key").fill("lj_live_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("unauthorized, request ")
    page.context.close()


def test_a_key_for_reports_alone_sees_them_and_is_shown_what_it_lacks(
    browser: Browser, site: Instance
) -> None:
    key = post(site, "/v1/keys", {"name": "viewer", "scopes": ["reports:read"]})["key"]
    dashboard = open_dashboard(browser, site)
    dashboard.log_in(key)
    page = dashboard.page
    expect(page.get_by_role("button", name="Coupon Corner")).to_be_visible()
    dashboard.open("settings")
    expect(page.get_by_text("Managing keys needs the scope keys:write")).to_be_visible()
    dashboard.open("links")
    expect(page.get_by_role("alert")).to_contain_text("forbidden, request ")
    page.context.close()


def test_everything_can_be_reached_by_the_keyboard(dashboard: Dashboard) -> None:
    page = dashboard.page
    page.reload()
    expect(page.get_by_role("button", name="Coupon Corner")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    reached: set[str] = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.innerText.split('\\n')[0]"))
    assert {"Live", "Settings", "Clicks", "Coupon Corner"} <= reached
