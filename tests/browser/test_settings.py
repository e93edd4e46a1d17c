"""Programs get credentials in Settings, and customers get what is stored about them."""

import json
from pathlib import Path

import httpx2
from playwright.sync_api import expect

from tests.browser.conftest import Dashboard, post
from tests.browser.test_views import serious
from tests.system.conftest import Instance, wait_for

EMAIL = "asks@shop.example"


def test_a_client_is_made_and_its_secret_gets_a_token(dashboard: Dashboard, site: Instance) -> None:
    page = dashboard.page
    dashboard.open("settings")
    page.get_by_role("button", name="New client").click()
    page.get_by_role("dialog").get_by_label("Name").fill("Warehouse")
    assert serious(page) == []
    page.get_by_role("button", name="Make the client").click()
    panel = page.get_by_role("dialog", name="The new client")
    credentials = panel.locator("code").inner_text(), panel.locator("pre").inner_text()
    panel.get_by_role("button", name="Close").click()
    form = {"grant_type": "client_credentials"}
    url = f"{site.run['edge_url']}/oauth/token"
    assert httpx2.post(url, data=form, auth=credentials).json()["scope"] == "reports:read"
    section = page.get_by_role("region", name="OAuth clients")
    expect(section.get_by_role("row").filter(has_text="Warehouse")).to_contain_text(credentials[0])
    section.get_by_role("button", name="Delete Warehouse").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(section.get_by_role("row").filter(has_text="Warehouse")).to_have_count(0)
    wait_for(
        "the client is refused",
        lambda: httpx2.post(url, data=form, auth=credentials).status_code == 401,
        2,
    )


def test_a_customers_data_is_exported_and_erased(
    dashboard: Dashboard, site: Instance, tmp_path: Path
) -> None:
    code = site.demo("link").rpartition("/")[2]
    body = {"tracking_code": code, "order_id": "order_of_asker", "order_value": 5}
    post(site, "/v1/conversions", {**body, "customer_email": EMAIL})
    page = dashboard.page
    dashboard.open("settings")
    section = page.get_by_role("region", name="Customers' requests")
    section.get_by_role("button", name="New request").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Customer's e-mail address").fill(EMAIL)
    assert serious(page) == []
    dialog.get_by_role("button", name="Start").click()
    row = section.get_by_role("row").filter(has_text="export")
    path = f"/v1/privacy/jobs/{row.locator('code').inner_text()}"

    def is_done() -> bool:
        return site.api("reports_url", path=path).json()["state"] == "done"

    wait_for("it is done", is_done, 30)
    page.reload()
    expect(row).to_contain_text("done")
    with page.expect_download() as download:
        row.get_by_role("button", name="Save").click()
    download.value.save_as(tmp_path / "data.json")
    [conversion] = json.loads((tmp_path / "data.json").read_text())["data"]
    assert conversion["order_id"] == "order_of_asker"
    section.get_by_role("button", name="New request").click()
    dialog = page.get_by_role("dialog")
    dashboard.provoked.add(422)
    dialog.get_by_label("What").select_option("Erase what is stored")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.get_by_role("alert")).to_contain_text("customer_email")
    dialog.get_by_label("Customer's e-mail address").fill(EMAIL)
    dialog.get_by_role("button", name="Start").click()
    expect(section.get_by_role("row").filter(has_text="erasure")).to_have_count(1)
