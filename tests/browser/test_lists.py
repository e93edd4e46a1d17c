"""Lists are searched, sorted and paged on the server, and say how much they show of what."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Dashboard, open_dashboard, post
from tests.system.conftest import Instance

LINKS = 1_200
AFFILIATES = 60
# With those of the instance itself, and one that another test may have made.
EVERY_LINK = re.compile("Tracking links: 1 to 50 of 1,20[23]")


@pytest.fixture(scope="module")
def full(site: Instance) -> Iterator[Instance]:
    """Adds many links and affiliates to the instance."""
    links = [
        {
            "campaign_id": "cmp_1",
            "affiliate_id": f"aff_{1 + number % 2}",
            "destination": "https://shop.example/imported",
            "tracking_code": f"imp{number:05}",
        }
        for number in range(LINKS)
    ]
    for start in range(0, LINKS, 600):
        post(site, "/v1/links/bulk", {"links": links[start : start + 600]})
    for number in range(AFFILIATES):
        post(site, "/v1/affiliates", {"name": f"Zeta {number:02}"})
    yield site


@pytest.fixture
def page(browser: Browser, full: Instance) -> Iterator[Dashboard]:
    found = open_dashboard(browser, full)
    found.log_in(full.demo("key"))
    yield found
    found.page.context.close()
    found.check()


def caption(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator("caption", has_text=text)).to_be_visible()


def test_any_of_many_links_is_found_and_a_miss_is_no_invitation(page: Dashboard) -> None:
    seen = page.page
    page.open("links")
    caption(seen, EVERY_LINK)
    find = seen.get_by_role("searchbox", name="Search: Tracking links")
    find.fill("IMP01199")
    caption(seen, "Tracking links that match “IMP01199”: 1")
    expect(seen.get_by_role("button", name="imp01199")).to_be_visible()
    expect(find).to_be_focused()
    expect(seen).to_have_url(re.compile("q=IMP01199"))
    find.fill("nowhere-at-all")
    expect(seen.get_by_text("Nothing matches “nowhere-at-all”.")).to_be_visible()
    expect(seen.get_by_text("make one")).to_have_count(0)
    seen.get_by_role("button", name="Clear the search").click()
    caption(seen, EVERY_LINK)


def test_links_are_paged_sorted_and_filtered_on_the_server(page: Dashboard) -> None:
    seen = page.page
    page.open("links", "?sort=tracking_code&q=imp")
    first = seen.locator("tbody tr").first
    expect(first).to_contain_text("imp00000")
    seen.get_by_role("button", name="Next rows").click()
    caption(seen, "51 to 100 of 1,200")
    expect(first).to_contain_text("imp00050")
    seen.get_by_role("button", name="Back").click()
    caption(seen, "1 to 50 of 1,200")
    seen.get_by_role("button", name="Tracking code ↑").click()
    expect(first).to_contain_text("imp01199")
    page.open("links", "?f.affiliate=aff_2&q=imp")
    caption(seen, "1 to 50 of 600")
    seen.get_by_label("Status").select_option("disabled")
    caption(seen, "none")


def test_affiliates_are_searched_sorted_and_paged(page: Dashboard) -> None:
    seen = page.page
    page.open("affiliates")
    caption(seen, f"Affiliates: 1 to 50 of {AFFILIATES + 2}")
    rows = seen.get_by_role("region", name=re.compile("^Affiliates")).locator("tbody tr")
    expect(rows.first).to_contain_text("Blog of Ann")
    seen.get_by_role("button", name="Affiliate ↑").click()
    expect(rows.first).to_contain_text("Zeta 59")
    seen.get_by_role("searchbox", name="Search: Affiliates").fill("coupon")
    caption(seen, "Affiliates that match “coupon”: 1")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("Coupon Corner")
    caption(seen, "Campaigns: 1")


def test_a_new_link_finds_its_affiliate_by_name(page: Dashboard) -> None:
    seen = page.page
    page.open("links")
    seen.get_by_role("button", name="New link").click()
    form = seen.get_by_role("dialog", name="New link")
    expect(form.get_by_text("50 of 62: search for others.")).to_be_visible()
    form.get_by_role("searchbox", name="Search: Affiliate").fill("zeta 42")
    expect(form.get_by_label("Affiliate", exact=True).locator("option")).to_have_text(["Zeta 42"])
    form.get_by_label("Destination").fill("https://shop.example/z")
    form.get_by_label("Tracking code").fill("zeta42")
    form.get_by_role("button", name="Make the link").click()
    expect(seen.get_by_role("dialog", name="zeta42")).to_be_visible()
    seen.get_by_role("button", name="Close").click()
    expect(seen.get_by_role("row").filter(has_text="zeta42")).to_contain_text("Zeta 42")


def test_conversions_are_searched_and_sorted_by_value(page: Dashboard) -> None:
    seen = page.page
    page.open("conversions")
    seen.get_by_role("searchbox", name="Search: Conversions").fill("rder_")
    caption(seen, "Conversions that match “rder_”: 6")
    seen.get_by_role("button", name="Order value").click()
    expect(seen).to_have_url(re.compile("sort=-order_value"))
    seen.get_by_role("searchbox", name="Search: Conversions").fill("no-such")
    seen.get_by_role("button", name="Look at all time").click()
    expect(seen).to_have_url(re.compile("from=2000-01-01"))
    expect(seen.get_by_text("Nothing matches “no-such”.")).to_be_visible()


def test_webhooks_are_searched_and_filtered(page: Dashboard) -> None:
    seen = page.page
    page.open("webhooks")
    caption(seen, "Webhooks: 1")
    seen.get_by_role("searchbox", name="Search: Webhooks").fill("9/HOOK")
    caption(seen, "Webhooks that match “9/HOOK”: 1")
    seen.get_by_label("Status").select_option("disabled")
    caption(seen, "Webhooks that match “9/HOOK”: none")


@pytest.mark.parametrize("width", [375, 768, 1280, 1920])
def test_money_is_in_sight_at_every_width(page: Dashboard, width: int) -> None:
    seen = page.page
    seen.set_viewport_size({"width": width, "height": 900})
    for view in ("overview", "links", "affiliates", "conversions"):
        page.open(view, "?from=7d")
        if view == "overview":
            expect(seen.get_by_role("button", name="Coupon Corner")).to_be_visible()
        else:
            expect(seen.locator("tbody tr").nth(1)).to_be_visible()
        places = seen.locator("main td.n").evaluate_all(
            "cells => cells.map((one) => [one.getBoundingClientRect().left,"
            " one.getBoundingClientRect().right, one.scrollWidth - one.clientWidth])"
        )
        assert places, view
        assert all(left >= 0 and right <= width and over <= 0 for left, right, over in places), view
