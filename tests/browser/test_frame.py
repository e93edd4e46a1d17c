"""The frame shows figures only under the period and filters that they are of."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Dashboard, open_dashboard, post
from tests.system.conftest import Instance

CHIP = "Affiliate = Coupon Corner"
REPORTS = re.compile("/v1/reports")


def clicks(page: Page) -> str:
    """Reads the overview's number of clicks, once it is that of the address."""
    expect(page.locator(".view.busy")).to_have_count(0)
    card = page.get_by_role("button", name=re.compile("^Clicks"))
    expect(card).to_contain_text(re.compile(r"Clicks\d"))
    return card.locator(".value").inner_text()


class Held:
    """Requests that match are held back until they are released."""

    def __init__(self, page: Page, pattern: re.Pattern[str]) -> None:
        self.routes: list[Route] = []
        self._holding = True
        page.route(pattern, self._take)

    def _take(self, route: Route) -> None:
        if self._holding:
            self.routes.append(route)
        else:
            route.continue_()

    def release(self) -> None:
        self._holding = False
        for route in self.routes:
            route.continue_()


def go(page: Page, view: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=view).click()
    expect(page.get_by_role("heading", level=1, name=view)).to_be_visible()


def test_a_filter_shows_its_chip_and_applies_in_every_view_that_takes_it(
    dashboard: Dashboard,
) -> None:
    page = dashboard.page
    dashboard.open("overview", "?f.affiliate=aff_2")
    chips = page.get_by_role("group", name="Filters")
    expect(chips).to_contain_text(CHIP)
    for view, shown, hidden in (
        ("Affiliates", "Coupon Corner", "Blog of Ann"),
        ("Links", "corner", "Blog of Ann"),
        ("Conversions", "Coupon Corner", "Blog of Ann"),
    ):
        go(page, view)
        expect(chips).to_contain_text(CHIP)
        rows = page.locator("tbody").first
        expect(rows).to_contain_text(shown)
        expect(rows).not_to_contain_text(hidden)
    for view in ("Quality", "Report builder"):
        go(page, view)
        expect(chips).to_contain_text(CHIP)
    requests = page.get_by_text("Recorded requests").locator("..").locator(".value")
    go(page, "Quality")
    expect(requests).to_have_text(re.compile(r"^\d+$"))
    of_one = int(requests.inner_text())
    page.get_by_role("button", name="Remove the filter Affiliate").click()
    expect(requests).not_to_have_text(str(of_one))
    assert int(requests.inner_text()) > of_one


@pytest.mark.parametrize("view", ["live", "pipeline", "webhooks", "audit", "settings"])
def test_a_filter_is_cleared_where_it_does_not_act(dashboard: Dashboard, view: str) -> None:
    page = dashboard.page
    dashboard.open(view, "?f.affiliate=aff_2&from=7d")
    expect(page).to_have_url(re.compile(f"#/{view}\\?from=7d$"))
    expect(page.get_by_role("group", name="Filters")).to_have_count(0)


def test_filters_are_chosen_by_name_and_left_out(dashboard: Dashboard) -> None:
    page = dashboard.page
    everything = int(clicks(page))
    page.get_by_role("button", name="Add a filter").click()
    panel = page.get_by_role("dialog", name="Add a filter")
    panel.get_by_role("searchbox", name="Search").fill("coupon c")
    expect(panel.get_by_role("listitem")).to_have_count(1)
    panel.get_by_role("button", name="Coupon Corner").click()
    expect(page.get_by_role("group", name="Filters")).to_contain_text(CHIP)
    assert "f.affiliate=aff_2" in page.url
    page.get_by_role("button", name="Add a filter").click()
    panel.get_by_label("Dimension").select_option("country")
    panel.get_by_label("Leave it out instead").check()
    panel.get_by_role("button", name="US", exact=True).click()
    expect(page.get_by_role("group", name="Filters")).to_contain_text("Country ≠ US")
    assert int(clicks(page)) < everything
    page.get_by_role("button", name="Remove all").click()
    expect(page.get_by_role("group", name="Filters")).to_have_count(0)


def test_a_key_without_the_registry_sees_names_too(browser: Browser, site: Instance) -> None:
    key = post(site, "/v1/keys", {"name": "viewer", "scopes": ["reports:read"]})["key"]
    dashboard = open_dashboard(browser, site)
    dashboard.provoked.add(403)
    dashboard.log_in(key)
    dashboard.open("quality", "?f.affiliate=aff_2")
    page = dashboard.page
    expect(page.get_by_role("group", name="Filters")).to_contain_text(CHIP)
    page.get_by_role("button", name="Add a filter").click()
    expect(page.get_by_role("dialog").get_by_role("button", name="Blog of Ann")).to_be_visible()
    page.context.close()
    dashboard.check()


@pytest.fixture
def slow(dashboard: Dashboard) -> Iterator[Held]:
    """Holds back every report."""
    clicks(dashboard.page)
    yield Held(dashboard.page, REPORTS)
    dashboard.page.unroute_all(behavior="ignoreErrors")


def test_figures_are_dimmed_at_once_when_another_period_is_chosen(
    dashboard: Dashboard, slow: Held
) -> None:
    page = dashboard.page
    page.get_by_role("combobox", name="Period", exact=True).select_option("7d")
    expect(page.locator(".view.busy")).to_be_visible(timeout=500)
    expect(page.locator("main")).to_have_attribute("aria-busy", "true")
    expect(page.get_by_text("Loading…")).to_be_visible()
    slow.release()
    expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")


def test_a_new_view_says_that_it_loads(dashboard: Dashboard, slow: Held) -> None:
    page = dashboard.page
    go(page, "Quality")
    expect(page.get_by_text("Loading…")).to_be_visible(timeout=500)
    assert page.locator(".card").count() == 0 or page.locator(".view.busy").count() == 1


def test_no_figures_of_another_period_stay_when_the_server_is_gone(dashboard: Dashboard) -> None:
    page = dashboard.page
    clicks(page)
    page.route(REPORTS, lambda route: route.abort())
    dashboard.provoked.add(0)
    page.get_by_role("combobox", name="Period", exact=True).select_option("30d")
    alert = page.get_by_role("alert").filter(has_text="The server cannot be reached")
    expect(alert).to_be_visible()
    expect(page.locator(".card").first).to_be_hidden()
    page.unroute(REPORTS)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card").first).to_be_visible()
    expect(alert).to_have_count(0)


def test_a_later_choice_does_not_wait_for_an_earlier_one(dashboard: Dashboard) -> None:
    page = dashboard.page
    everything = clicks(page)
    held = Held(page, re.compile("from=yesterday"))
    page.get_by_role("combobox", name="Period", exact=True).select_option("yesterday")
    expect(page.locator(".view.busy")).to_be_visible()
    page.get_by_role("combobox", name="Period", exact=True).select_option("7d")
    expect(page.locator(".view.busy")).to_have_count(0)
    assert held.routes
    assert clicks(page) == everything
    page.unroute_all(behavior="ignoreErrors")


def test_a_range_of_days_is_asked_for_at_once_and_only_if_it_is_one(dashboard: Dashboard) -> None:
    page = dashboard.page
    clicks(page)
    page.get_by_role("combobox", name="Period", exact=True).select_option("custom")
    before = page.url
    asked: list[str] = []
    page.on(
        "request",
        lambda request: asked.append(request.url) if "/v1/reports?" in request.url else None,
    )
    today = datetime.now(UTC).date()
    page.get_by_label("First day").fill(str(today))
    page.get_by_label("Last day").fill(str(today - timedelta(days=3)))
    page.get_by_role("button", name="Show this range").click()
    expect(page.get_by_text("The last day must not come before the first day.")).to_be_visible()
    assert page.url == before
    expect(page.locator(".card").first).to_be_visible()
    page.get_by_label("First day").fill(str(today - timedelta(days=3)))
    page.get_by_label("Last day").fill(str(today))
    page.get_by_role("button", name="Show this range").click()
    tomorrow = today + timedelta(days=1)
    expect(page).to_have_url(re.compile(f"from={today - timedelta(days=3)}&to={tomorrow}"))
    expect(page.get_by_label("Last day")).to_have_value(str(today))
    expect(page.locator(".view.busy")).to_have_count(0)
    since = [url for url in asked if "/v1/reports" in url and "from=20" in url]
    assert since and all(f"to={tomorrow}" in url for url in since)


def test_the_period_before_and_after_are_a_click_or_a_key_away(dashboard: Dashboard) -> None:
    page = dashboard.page
    period = page.get_by_role("combobox", name="Period", exact=True)
    period.select_option("today")
    expect(page).to_have_url(re.compile("from=today"))
    expect(page.get_by_role("button", name="Period after")).to_be_disabled()
    page.get_by_role("button", name="Period before").click()
    expect(page).to_have_url(re.compile("from=yesterday"))
    page.locator("main").focus()
    page.keyboard.press("ArrowLeft")
    day = datetime.now(UTC).date() - timedelta(days=2)
    expect(page).to_have_url(re.compile(f"from={day}&to={day + timedelta(days=1)}"))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(period).to_have_value("today")
    period.select_option("mtd")
    page.get_by_role("button", name="Period before").click()
    expect(period).to_have_value("last_month")
    page.get_by_role("button", name="Period before").click()
    expect(page).to_have_url(re.compile(r"from=\d{4}-\d\d-01&to=\d{4}-\d\d-01"))
    period.select_option("7d")
    page.get_by_role("button", name="Period before").click()
    expect(page).to_have_url(re.compile(r"from=\d{4}-\d\d-\d\dT.*Z&to="))
    assert clicks(page) == "0"
    page.get_by_role("button", name="Period after").click()
    expect(period).to_have_value("7d")


BARS = {
    "overview": {"Period", "Compare with", "Time zone", "Currency"},
    "links": {"Period", "Time zone", "Currency"},
    "conversions": {"Period", "Time zone"},
    "quality": {"Period", "Time zone"},
    "live": {"Time zone"},
    "pipeline": {"Time zone"},
    "webhooks": {"Time zone"},
    "settings": {"Time zone"},
}


def test_the_bar_has_what_acts_in_the_view(dashboard: Dashboard) -> None:
    page = dashboard.page
    bar = page.get_by_role("group", name="What is shown")
    for view, expected in BARS.items():
        dashboard.open(view)
        title = view.capitalize()
        expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
        labels = bar.locator("label").evaluate_all(
            "labels => labels.map((one) => one.firstChild.textContent)"
        )
        assert set(labels) == expected, view


def test_the_builder_shows_the_comparison_that_the_bar_offers(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.open("builder", "?by=affiliate&cols=clicks&from=7d")
    row = page.get_by_role("row").filter(has_text="Coupon Corner")
    expect(row).to_contain_text("new")
    page.get_by_role("combobox", name="Compare with").select_option("")
    expect(row).not_to_contain_text("new")


def test_what_has_the_focus_keeps_it_when_figures_are_drawn_anew(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.open("conversions")
    value = page.get_by_role("button", name=re.compile("^Order value"))
    value.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("sort=-order_value"))
    expect(page.get_by_role("columnheader", name="Order value ↓")).to_be_visible()
    expect(value).to_be_focused()
    dashboard.open("builder")
    box = page.get_by_role("checkbox", name="Approved")
    expect(page.get_by_text("times in")).to_be_visible()
    box.focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("columnheader", name="Approved")).to_be_visible()
    expect(box).to_be_focused()


def test_quality_shows_nothing_that_is_not_measured(dashboard: Dashboard) -> None:
    page = dashboard.page
    dashboard.open("quality")
    expect(page.get_by_text("Bot share")).to_be_visible()
    expect(page.get_by_text(re.compile("duplicate", re.IGNORECASE))).to_have_count(0)


def test_a_test_key_is_offered_what_it_can_see(browser: Browser, site: Instance) -> None:
    scopes = ["reports:read", "links:read", "conversions:write"]
    key = post(site, "/v1/keys", {"name": "t", "scopes": scopes, "test": True})["key"]
    dashboard = open_dashboard(browser, site)
    dashboard.log_in(key)
    page = dashboard.page
    first = page.locator(".first")
    expect(first).to_contain_text("Post a test conversion")
    expect(first).not_to_contain_text("Send a click")
    assert "curl -i -A" not in first.inner_text()
    page.context.close()
    dashboard.check()


def test_over_plain_http_conversions_are_decided_and_texts_copied(
    browser: Browser, site: Instance
) -> None:
    dashboard = open_dashboard(browser, site)
    dashboard.url = dashboard.url.replace("127.0.0.1", "dash.lan.example")
    dashboard.log_in(site.demo("key"))
    page = dashboard.page
    assert page.evaluate("window.isSecureContext") is False
    dashboard.open("conversions", "?q=order_0")
    page.get_by_role("button", name="order_0").click()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("alert").filter(has_text="not a function")).to_have_count(0)
    row = page.get_by_role("row").filter(has_text="order_0")
    deadline = time.monotonic() + 15
    while "approved" not in row.inner_text() and time.monotonic() < deadline:
        page.reload()
        expect(row).to_be_visible()
    expect(row).to_contain_text("approved")
    dashboard.open("links")
    page.get_by_role("button", name="corner", exact=True).click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.context.close()
    dashboard.check()
