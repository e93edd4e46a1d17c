"""The API viewer at `/docs` of both listeners, in a real browser."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Dashboard
from tests.system.conftest import Instance


def open_viewer(browser: Browser, url: str) -> Dashboard:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    # Debian's browser on two busy cores draws 60 operations.
    page.set_default_timeout(15_000)
    viewer = Dashboard(page, url)
    viewer.watch()
    page.goto(f"{url}/docs")
    return viewer


def authorize(page: Page, key: str) -> None:
    page.get_by_role("button", name="Authorize").first.click()
    form = page.locator(".modal-ux")
    # The other way to send a key is in the query, of postbacks alone.
    bearer = form.locator(".auth-container", has_text="Bearer")
    bearer.locator("input").fill(key)
    bearer.get_by_role("button", name="Apply credentials").click()
    form.get_by_role("button", name="Close").first.click()


@pytest.mark.parametrize(
    "listener", [pytest.param("edge_url", marks=pytest.mark.long), "reports_url"]
)
def test_the_viewer_shows_operations_and_sends_a_request_with_a_key(
    browser: Browser, site: Instance, listener: str
) -> None:
    viewer = open_viewer(browser, site.run[listener])
    page = viewer.page
    expect(page.get_by_text("Create a campaign.")).to_be_visible()
    assert page.locator(".opblock").count() > 50
    authorize(page, site.demo("key"))
    operation = page.locator("[id$='-getMe']")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table")
    expect(answer.locator(".response-col_status").nth(1)).to_have_text(re.compile("^200"))
    expect(answer).to_contain_text('"account": "default"')
    page.context.close()
    viewer.check()


def test_a_problem_leads_to_its_section_of_the_page_of_errors(
    browser: Browser, site: Instance
) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{site.run['edge_url']}/docs/errors#missing_field")
    expect(page.locator("section#missing_field")).to_be_in_viewport()
    expect(page.locator("section#missing_field")).to_contain_text("status 422")
    page.context.close()
