"""Every view shows real data without an error, in both schemes and widths, and is accessible."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from reports.static import read_files
from tests.browser.conftest import SHOTS, Scheme, open_dashboard
from tests.system.conftest import Instance

# Texts that each view shows only when it has real data.
VIEWS = {
    "overview": "Coupon Corner",
    "live": "Last 30 minutes",
    "builder": "Coupon Corner",
    "links": "corner",
    "conversions": "order_5",
    "affiliates": "Blog of Ann",
    "quality": "A chat or social network fetched the link to show a preview.",
    "pipeline": "It adds up",
    "webhooks": "http://127.0.0.1:9/hook",
    "audit": "createAffiliate",
    "settings": "lj_live_",
    "you": "You use the API key demo",
}
HEADINGS = {"builder": "Report builder", "audit": "Audit log"}
COMPRESSED_MAX_BYTES = 150 << 10


def serious(page: Page) -> list[str]:
    """Lists the serious accessibility violations that axe-core finds on the page."""
    axe: Any = Axe()
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in axe.run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_every_view_shows_real_data_without_an_error(
    browser: Browser, site: Instance, scheme: Scheme
) -> None:
    dashboard = open_dashboard(browser, site, scheme)
    page = dashboard.page
    dashboard.log_in(site.demo("key"))
    SHOTS.mkdir(exist_ok=True)
    for view, text in VIEWS.items():
        dashboard.open(view)
        name = HEADINGS.get(view, view.capitalize())
        expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
        expect(page.get_by_text(text, exact=False).first).to_be_visible()
        for width in (1920, 1280, 768, 375):
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=SHOTS / f"{view}-{scheme}-{width}.png", full_page=True)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{view} is {wide} wide"
        assert serious(page) == [], view
        page.set_viewport_size({"width": 1280, "height": 900})
    page.context.close()
    dashboard.check()


@pytest.mark.long
def test_nothing_moves_while_the_overview_loads(browser: Browser, site: Instance) -> None:
    dashboard = open_dashboard(browser, site)
    page = dashboard.page
    page.add_init_script(
        "window.moved = 0; new PerformanceObserver((list) => list.getEntries()"
        ".forEach((one) => { window.moved += one.hadRecentInput ? 0 : one.value; }))"
        ".observe({ type: 'layout-shift', buffered: true });"
    )
    dashboard.log_in(site.demo("key"))
    dashboard.open("overview", "?from=7d")
    expect(page.get_by_role("button", name="Coupon Corner")).to_be_visible()
    # https://web.dev/articles/cls: good is below 0.1.
    assert page.evaluate("window.moved") < 0.1
    page.context.close()


def test_the_dashboard_is_light() -> None:
    gzipped = {name: len(file.gzipped) for name, file in read_files().items()}
    assert sum(gzipped.values()) <= COMPRESSED_MAX_BYTES, gzipped
