"""Drives a merchant's shop over HTTP: a campaign with two affiliates, their clicks and orders."""

import itertools
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx2

from tests.system.conftest import Instance, wait_for

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept-Language": "en",
}
PERCENT_30 = {"kind": "percentage", "rate": "30"}
_numbers = itertools.count(1)


def unique(word: str = "order") -> str:
    """Makes a text that no other row of the run uses."""
    return f"{word}-{next(_numbers)}"


class Api:
    """Sends requests to both listeners of an instance, under its admin key."""

    def __init__(self, instance: Instance) -> None:
        run = instance.run
        self.instance = instance
        self.edge: str = run["edge_url"]
        self.reports: str = run["reports_url"]
        self.key = instance.demo("key")
        self.http = httpx2.Client(timeout=30)

    def send(self, method: str, url: str, *, key: str = "", **more: Any) -> httpx2.Response:
        """Sends a request; a path without a host goes to the edge. `key="-"` sends no key."""
        target = url if url.startswith("http") else self.edge + url
        headers: dict[str, str] = more.pop("headers", {})
        if key != "-":
            headers = {"Authorization": f"Bearer {key or self.key}"} | headers
        return self.http.request(method, target, headers=headers, **more)

    def create(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Creates an entry of the registry."""
        answer = self.send("POST", f"/v1/{kind}", json=fields)
        assert answer.status_code == 201, f"{kind}: {answer.text}"
        return answer.json()

    def read(self, conversion_id: str) -> dict[str, Any]:
        """Reads a conversion with its history from the edge."""
        answer = self.send("GET", f"/v1/conversions/{conversion_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fresh(self, path: str, **parameters: str) -> dict[str, Any]:
        """Asks reports until the answer covers all that was accepted before this call."""
        # Events of this millisecond are included, too.
        wanted = datetime.now(UTC) + timedelta(milliseconds=2)
        # This report is answered from memory, so that waiting costs the installation little.
        self._covering(wanted, "/v1/reports", {"metrics": "conversions"})
        return self._covering(wanted, path, parameters)

    def _covering(self, wanted: datetime, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def covered() -> bool:
            answer = self.send("GET", self.reports + path, params=parameters)
            assert answer.status_code == 200, answer.text
            found.update(answer.json())
            as_of = found["meta"]["data_as_of"]
            return as_of is not None and datetime.fromisoformat(as_of) >= wanted

        wait_for(f"{path} covers what was sent", covered, 30)
        return found


@dataclass(frozen=True)
class Partner:
    """An affiliate with a tracking code in the shop's campaign."""

    id: str
    code: str


class Shop:
    """A campaign of a row's own (30 %, USD), with the affiliates `ann` and `ben`."""

    def __init__(self, api: Api, **campaign: Any) -> None:
        self.api = api
        fields = {"name": unique("shop"), "currency": "USD", "commission": PERCENT_30} | campaign
        self.campaign: str = api.create("campaigns", **fields)["id"]
        self.ann = self.partner()
        self.ben = self.partner()

    def partner(self, **fields: Any) -> Partner:
        """Creates an affiliate with a link in the campaign."""
        affiliate = self.api.create("affiliates", **({"name": unique("partner")} | fields))["id"]
        link = self.api.create(
            "links",
            campaign_id=self.campaign,
            affiliate_id=affiliate,
            destination="https://shop.example/",
        )
        return Partner(affiliate, link["tracking_code"])

    def bound_key(self) -> dict[str, Any]:
        """Creates a network's key, bound to the campaign."""
        return self.api.create(
            "keys", name=unique("network"), scopes=["postback"], campaign_id=self.campaign
        )

    def click(self, partner: Partner | None = None) -> str:
        """Clicks an affiliate's link, Ann's by default, and returns the click id."""
        path = f"/{(partner or self.ann).code}"
        answer = self.api.send("GET", path, key="-", headers=BROWSER)
        assert answer.status_code == 302, answer.text
        found = re.search(r"click_id=([0-9A-Z]{26})", answer.headers["location"])
        assert found
        return found[1]

    def post(self, headers: dict[str, str] | None = None, /, **body: Any) -> httpx2.Response:
        """Posts a conversion."""
        return self.api.send("POST", "/v1/conversions", json=body, headers=headers or {})

    def post_text(self, body: str | bytes, **headers: str) -> httpx2.Response:
        """Posts a body as it is written, as JSON unless a header says otherwise."""
        sent = {"Content-Type": "application/json"} | headers
        content = body if isinstance(body, bytes) else body.encode()
        return self.api.send("POST", "/v1/conversions", content=content, headers=sent)

    def sale(self, value: Any = 100, /, **fields: Any) -> dict[str, Any]:
        """Posts an order of Ann's code that must be accepted, and returns the answer."""
        body = {"order_id": unique(), "order_value": value} | fields
        if not {"tracking_code", "click_id", "coupon_code"} & body.keys():
            body["tracking_code"] = self.ann.code
        answer = self.post(**body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def postback(self, dialect: str = "", /, **parameters: Any) -> httpx2.Response:
        """Sends a postback under the admin key, or under the `key` given."""
        return self.postback_text(urlencode({"key": self.api.key} | parameters), dialect)

    def postback_text(self, query: str, dialect: str = "", **headers: str) -> httpx2.Response:
        """Sends a postback with a query as it is written, and no key beside it."""
        path = f"/postback/{dialect}" if dialect else "/postback"
        return self.api.send("GET", f"{path}?{query}", key="-", headers=headers)

    def pixel(self, **parameters: Any) -> None:
        """Loads the pixel as a visitor's browser does; its answer is always the image."""
        answer = self.api.send("GET", f"/p.gif?{urlencode(parameters)}", key="-", headers=BROWSER)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")

    def adjust(self, conversion_id: str, kind: str, **fields: Any) -> httpx2.Response:
        """Adjusts a conversion under an adjustment id of its own, unless one is given."""
        body = {"kind": kind, "adjustment_id": unique("adjustment"), "reason": "so it is"} | fields
        return self.api.send("POST", f"/v1/conversions/{conversion_id}/adjustments", json=body)

    def adjusted(self, conversion_id: str, kind: str, **fields: Any) -> dict[str, Any]:
        """Adjusts a conversion, which must succeed, and returns the conversion after it."""
        answer = self.adjust(conversion_id, kind, **fields)
        assert answer.status_code == 201, answer.text
        return answer.json()["conversion"]

    def listed(self, **filters: Any) -> list[dict[str, Any]]:
        """Lists conversions of the campaign once everything sent so far is stored."""
        filters = {"campaign_id": self.campaign, "limit": "1000"} | filters
        return self.api.fresh("/v1/conversions", **filters)["data"]

    def only(self, **filters: Any) -> dict[str, Any]:
        """Reads the only conversion of the list with these filters, with its history."""
        rows = self.listed(**filters)
        assert len(rows) == 1, rows
        return self.api.read(rows[0]["conversion_id"])

    def totals(self, metrics: str = "conversions,revenue,commission", /, **filters: Any) -> Any:
        """Reads the metrics of the campaign once everything sent so far is stored."""
        filters = {"campaign": self.campaign, "metrics": metrics, "from": "30d"} | filters
        found = self.api.fresh("/v1/reports", **filters)["totals"]
        return tuple(found[name] for name in metrics.split(","))


def money(conversion: dict[str, Any]) -> tuple[float, float]:
    """Returns the gross value and the commission."""
    return conversion["order_value"], conversion["commission_amount"]


def net(conversion: dict[str, Any]) -> tuple[float, float]:
    """Returns the value after refunds and the commission."""
    return conversion["net_value"], conversion["commission_amount"]


def kinds(conversion: dict[str, Any]) -> list[str]:
    """Returns the kinds of a conversion's history, the oldest first."""
    return [entry["kind"] for entry in conversion["history"]]


def refused_field(answer: httpx2.Response, status: int = 422) -> str:
    """Returns the field that a refusal names."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    return answer.json()["errors"][0]["field"]


def eventually(condition: Callable[[], bool], seconds: float = 3) -> bool:
    """Returns whether the condition holds within the time that a change may take to spread."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def days_ago(days: int) -> str:
    """Returns the instant so many days ago, to the second."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def lines(bodies: list[dict[str, Any]]) -> str:
    """Writes bodies as NDJSON."""
    return "".join(json.dumps(body) + "\n" for body in bodies)
