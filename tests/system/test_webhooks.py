"""Every conversion gets its webhook: in time, signed, and under one id through every kill."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from tests.system.conftest import COMMAND, Instance, start, wait_for

DOCUMENT = Path(__file__).parents[2] / "docs" / "webhooks.md"
ORDER = {
    "tracking_code": "tc_ABC123",
    "order_value": 99.99,
    "order_id": "order_12345",
    "customer_email": "customer@example.com",
}


@dataclass
class WebhookReceiver:
    """A merchant's endpoint; `arrived` holds headers by lower-case names, and bodies."""

    url: str
    arrived: list[tuple[dict[str, str], bytes]] = field(
        default_factory=list[tuple[dict[str, str], bytes]]
    )

    def ids_of(self) -> dict[str, set[str]]:
        """Maps each conversion to the webhook ids under which it arrived."""
        found: dict[str, set[str]] = {}
        for headers, body in self.arrived:
            conversion_id = json.loads(body)["data"]["conversion_id"]
            found.setdefault(conversion_id, set()).add(headers["webhook-id"])
        return found


@pytest.fixture
def shop() -> Iterator[WebhookReceiver]:
    class Hook(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                # Its sender was killed in mid-request.
                self.close_connection = True
                return
            made.arrived.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    made = WebhookReceiver(f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    running = start(tmp_path / "data", LINKJOLT_WEBHOOK_ALLOW_PRIVATE="1")
    yield running
    if running.process.poll() is None:
        running.stop()


def post(instance: Instance, path: str, body: object) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {instance.demo('key')}"}
    answer = httpx2.post(instance.run["edge_url"] + path, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def verify_of_the_document() -> Any:
    """Loads the verify function from the document."""
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    return names["verify"]


def test_the_seeds_request_has_its_webhook_within_2_seconds(
    instance: Instance, shop: WebhookReceiver
) -> None:
    endpoint = {"url": shop.url, "events": ["conversion.created"]}
    secret: str = post(instance, "/v1/webhooks", endpoint)["secret"]
    own = {"campaign_id": "cmp_1", "affiliate_id": "aff_1", "tracking_code": "tc_ABC123"}
    post(instance, "/v1/links", own | {"destination": "https://shop.example/"})
    began = time.monotonic()
    made = post(instance, "/v1/conversions", ORDER)
    wait_for("the webhook arrives", lambda: bool(shop.arrived), 2 - (time.monotonic() - began))
    [(headers, body)] = shop.arrived
    data = json.loads(body)["data"]
    assert list(json.loads(body)) == ["event", "data"]
    assert json.loads(body)["event"] == "conversion.created"
    names = ["conversion_id", "affiliate_id", "commission_amount", "order_value", "timestamp"]
    assert list(data)[:5] == names
    assert {name: data[name] for name in names} == {name: made[name] for name in names}
    assert (data["commission_amount"], data["order_value"]) == (29.99, 99.99)
    assert Webhook(secret).verify(body, headers) is not None
    metrics = instance.run["edge_url"] + "/metrics"
    delivered = 'linkjolt_webhook_tries_total{outcome="delivered"} 1.0'
    wait_for("an edge counts it", lambda: delivered in httpx2.get(metrics).text)
    verify = verify_of_the_document()
    assert verify(headers["x-linkjolt-signature"], body, secret)
    assert not verify(headers["x-linkjolt-signature"], body + b" ", secret)
    assert not verify(headers["x-linkjolt-signature"], body, "whsec_x")


@pytest.mark.long
def test_every_conversion_has_its_webhook_through_a_kill_always_under_one_id(
    instance: Instance, shop: WebhookReceiver
) -> None:
    post(instance, "/v1/webhooks", {"url": shop.url, "events": ["conversion.created"]})
    link = instance.demo("link").rpartition("/")[2]
    made: set[str] = set()
    for number in range(120):
        order = ORDER | {"tracking_code": link, "order_id": f"o{number}"}
        headers = {"Authorization": f"Bearer {instance.demo('key')}"}
        url = instance.run["edge_url"] + "/v1/conversions"
        answer = httpx2.post(url, json=order, headers=headers)
        assert answer.status_code == 201
        made.add(answer.json()["conversion_id"])
        if number in (30, 80):
            killed = instance.run["pids"]["webhooks"]
            os.kill(killed, signal.SIGKILL)
            again = "it is started again"
            wait_for(again, lambda k=killed: instance.run["pids"]["webhooks"] not in (None, k))
    # Deliveries that a killed process had claimed are due again when its lease ends.
    wait_for("all webhooks arrive", lambda: shop.ids_of().keys() == made, 60)
    assert all(len(ids) == 1 for ids in shop.ids_of().values())


@pytest.mark.long
def test_the_reports_listener_has_the_whole_log_and_replays_it_in_order(
    instance: Instance, shop: WebhookReceiver
) -> None:
    made = post(instance, "/v1/webhooks", {"url": shop.url, "events": ["conversion.created"]})
    link = instance.demo("link").rpartition("/")[2]
    order = {"tracking_code": link, "order_value": 10}
    orders = [order | {"order_id": f"o{number}"} for number in range(150)]
    headers = {"Authorization": f"Bearer {instance.demo('key')}"}
    url = instance.run["edge_url"] + "/v1/conversions"
    accepted = httpx2.post(url, json=orders, headers=headers, timeout=30).json()
    assert accepted["accepted"] == 150
    wait_for("all webhooks arrive", lambda: len(shop.arrived) == 150, 60)

    def deliveries(listener: str) -> list[dict[str, Any]]:
        path = f"/v1/webhooks/{made['id']}/deliveries?limit=1000"
        return instance.api(listener, path=path).json()["data"]

    def logged() -> bool:
        return [one["state"] for one in deliveries("reports_url")] == ["delivered"] * 150

    wait_for("all are listed", logged, 30)
    assert len(deliveries("edge_url")) == 100
    first = [one["webhook_id"] for one in deliveries("reports_url")][::-1]
    replay = f"{instance.run['reports_url']}/v1/webhooks/{made['id']}/replay"
    body = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    answer = httpx2.post(replay, json=body, headers=headers)
    assert (answer.status_code, answer.json()) == (202, {"queued": 150})
    wait_for("all arrive again", lambda: len(shop.arrived) == 300, 60)
    again = [sent["webhook-id"] for sent, _ in shop.arrived[150:]]
    assert sorted(again) == sorted(first)
    # Of those under way at once, one may overtake another.
    assert max(abs(again.index(name) - place) for place, name in enumerate(first)) <= 40


@pytest.mark.long
def test_what_listens_for_development_verifies_and_prints(
    instance: Instance, tmp_path: Path
) -> None:
    secret = "whsec_" + "QUJD" * 8
    printed = tmp_path / "listen.out"
    with open(printed, "wb") as out:
        process = subprocess.Popen(
            [*COMMAND, "webhooks", "listen", "--port", "0", "--secret", secret],
            stdout=out,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    try:
        wait_for("it listens", lambda: "Listening on" in printed.read_text())
        url = printed.read_text().split()[2]
        made = post(instance, "/v1/webhooks", {"url": url, "events": ["conversion.created"]})
        headers = {"Authorization": f"Bearer {instance.demo('key')}"}
        test = f"{instance.run['edge_url']}/v1/webhooks/{made['id']}/test"
        assert httpx2.post(test, headers=headers).status_code == 202
        wait_for("it prints", lambda: '"event":"test"' in printed.read_text())
        # It knows another secret than the endpoint's.
        assert "no webhook-signature is by this secret" in printed.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
