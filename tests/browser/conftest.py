"""Opens the dashboard in a real browser, on a running instance with real data."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.system.conftest import Instance, own_instance, start, wait_for

__all__ = ["own_instance"]

Scheme = Literal["light", "dark"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
AGENTS = (FIREFOX, "curl/8.1", "facebookexternalhit/1.1")
COUNTRIES = ("US", "DE", "BR")
VARIABLES = {"LINKJOLT_WEBHOOK_ALLOW_PRIVATE": "1", "LINKJOLT_COUNTRY_HEADER": "CF-IPCountry"}
SHOTS = Path(__file__).parent / "screenshots"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        reason = "there is no chromium on PATH: `.ci/run` installs Debian's"
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium until the module ends, for its driver keeps a loop running in this thread.

    Asynchronous tests that follow in the same worker could not run beside it.
    """
    with sync_playwright() as playwright:
        arguments = [
            *("--no-sandbox", "--disable-background-networking"),
            # Under another name than localhost, plain HTTP is no secure context.
            "--host-resolver-rules=MAP *.lan.example 127.0.0.1",
        ]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


def click(instance: Instance, code: str, number: int) -> str:
    """Clicks from one of a few countries, by a browser or program; returns the click id."""
    headers = {
        "User-Agent": AGENTS[number % 10 % 3 if number % 10 > 7 else 0],
        "CF-IPCountry": COUNTRIES[number % 3],
        "X-Forwarded-For": f"203.0.113.{number % 200}",
        "Referer": "https://blog.example/",
    }
    url = f"{instance.run['edge_url']}/{code}?sub1={('mail', 'feed')[number % 2]}"
    answer = httpx2.get(url, headers=headers)
    assert answer.status_code == 302
    return answer.headers["location"].rpartition("click_id=")[2]


def post(instance: Instance, path: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {instance.demo('key')}"}
    answer = httpx2.post(instance.run["edge_url"] + path, json=body, headers=headers)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def wait_until_stored(instance: Instance, events: int) -> None:
    """Waits until that many events are stored."""

    def there() -> bool:
        balance = instance.api("reports_url", path="/v1/balance").json()
        return sum(stream["stored"] for stream in balance["streams"]) >= events

    wait_for(f"{events} events are stored", there)


def fill(instance: Instance) -> None:
    """Sends 60 clicks on two links, 6 conversions, a forged one, and creates a webhook."""
    affiliate = post(instance, "/v1/affiliates", {"name": "Coupon Corner"})["id"]
    of = {"campaign_id": "cmp_1", "affiliate_id": affiliate}
    to = "https://shop.example/p?ref={affiliate_id}&s={sub1}"
    code = post(instance, "/v1/links", of | {"destination": to, "tracking_code": "corner"})
    codes = (instance.demo("link").rpartition("/")[2], code["tracking_code"])
    ids = [click(instance, codes[number % 3 == 0], number) for number in range(60)]
    for number, click_id in enumerate(ids[:12:2]):
        sale = {"click_id": click_id, "order_id": f"order_{number}", "order_value": "49.90"}
        post(instance, "/v1/conversions", sale)
    forged = {"click_id": "0" * 26, "order_id": "forged", "order_value": 10}
    post(instance, "/v1/conversions", forged)
    hook = {"url": "http://127.0.0.1:9/hook", "events": ["conversion.created"]}
    post(instance, "/v1/webhooks", hook)
    wait_until_stored(instance, 67)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    running = start(tmp_path_factory.mktemp("browser") / "data", **VARIABLES)
    fill(running)
    yield running
    if running.process.poll() is None:
        running.stop()


@dataclass
class Dashboard:
    """A page of the dashboard, with its errors and its requests to other hosts."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list[str])
    foreign: list[str] = field(default_factory=list[str])
    # Statuses of answers that the test provokes, 0 for none; the browser logs each as an error.
    provoked: set[int] = field(default_factory=set[int])

    def watch(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        texts = [
            f"with a status of {status} " if status else "net::ERR_" for status in self.provoked
        ]
        provoked = any(text in message.text for text in texts)
        if message.type in ("error", "warning") and not provoked:
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.url, f"blob:{self.url}")):
            self.foreign.append(request.url)

    def log_in(self, secret: str) -> None:
        self.page.goto(self.url)
        self.page.get_by_label("API key").fill(secret)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("heading", level=1, name="Overview").wait_for()

    def open(self, view: str, query: str = "") -> None:
        self.page.goto(f"{self.url}/#/{view}{query}")

    def check(self) -> None:
        assert self.errors == []
        assert self.foreign == []


def open_dashboard(browser: Browser, instance: Instance, scheme: Scheme = "light") -> Dashboard:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, timezone_id="UTC", color_scheme=scheme
    )
    page = context.new_page()
    # Debian's browser on two busy cores.
    page.set_default_timeout(15_000)
    dashboard = Dashboard(page, instance.run["reports_url"])
    dashboard.watch()
    return dashboard


@pytest.fixture
def dashboard(browser: Browser, site: Instance) -> Iterator[Dashboard]:
    """Yields a page logged in with the demo key; checks at the end that it saw no error."""
    found = open_dashboard(browser, site)
    found.log_in(site.demo("key"))
    yield found
    found.page.context.close()
    found.check()
