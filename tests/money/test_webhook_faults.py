"""An endpoint that is slow, busy or broken is served by its own answers and delays no other."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.money.merchant import Arrival, Hook, Merchant, Reply, ok
from tests.money.shop import Shop, eventually, lines, unique
from tests.system.conftest import wait_for

_NDJSON = {"Content-Type": "application/x-ndjson"}


def _sell(shop: Shop, count: int) -> list[str]:
    """Posts so many orders at once, and returns their order ids."""
    orders = [unique() for _ in range(count)]
    bodies = [
        {"tracking_code": shop.ann.code, "order_id": order, "order_value": 1} for order in orders
    ]
    answer = shop.post_text(lines(bodies), **_NDJSON)
    assert answer.json()["accepted"] == count
    return orders


def _no_content(hook: Hook, _: Arrival) -> None:
    hook.reply(204)


def _long(hook: Hook, _: Arrival) -> None:
    hook.reply(200, b"x" * 200_000)


def _half(hook: Hook, _: Arrival) -> None:
    """Answers 200 and breaks off in mid-body."""
    hook.send_response(200)
    hook.send_header("Content-Length", "100")
    hook.end_headers()
    hook.wfile.write(b"x" * 50)
    hook.wfile.flush()
    hook.close_connection = True


def _dripping(hook: Hook, arrival: Arrival) -> None:
    """Answers 200 at once and never ends the body."""
    hook.send_response(200)
    hook.send_header("Content-Length", "100")
    hook.end_headers()
    for _ in arrival.body[:60]:
        hook.wfile.write(b"x")
        hook.wfile.flush()
        hook.hold(0.25)


def _moved(hook: Hook, _: Arrival) -> None:
    hook.reply(302, Location=f"http://127.0.0.1:{hook.hooks.server_port}/elsewhere")


def _closing(hook: Hook, _: Arrival) -> None:
    hook.close_connection = True


def _silent(hook: Hook, _: Arrival) -> None:
    hook.hold()


def _after_7_seconds(hook: Hook, arrival: Arrival) -> None:
    hook.hold(7)
    ok(hook, arrival)


def _busy(hook: Hook, _: Arrival) -> None:
    hook.reply(429, Retry_After="60")


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(_no_content, id="no content"),
        pytest.param(_long, id="200 KB of answer"),
        pytest.param(_half, id="a body that breaks off"),
        pytest.param(_dripping, id="a body that does not end", marks=pytest.mark.long),
        pytest.param(_after_7_seconds, id="after 7 seconds", marks=pytest.mark.long),
    ],
)
def test_a_status_of_success_in_time_is_a_delivery(
    shop: Shop, merchant: Merchant, reply: Reply
) -> None:
    endpoint = merchant.endpoint(shop, reply)
    shop.sale()
    tried = endpoint.first_try(15)
    assert tried["error"] is None
    assert tried["status"] in (200, 204)
    assert endpoint.states() == ["delivered"]
    assert len(endpoint.arrived) == 1


@pytest.mark.parametrize(
    ("reply", "status"),
    [pytest.param(_moved, 302, id="moved"), pytest.param(_busy, 429, id="busy")],
)
def test_another_status_is_tried_again_later(
    shop: Shop, merchant: Merchant, reply: Reply, status: int
) -> None:
    endpoint = merchant.endpoint(shop, reply)
    shop.sale()
    assert endpoint.first_try()["status"] == status
    assert endpoint.states() == ["pending"]
    assert len(endpoint.arrived) == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        pytest.param(_closing, ("closed", "disconnected", "without"), id="closed"),
        pytest.param(_silent, ("within 10 s",), id="silent", marks=pytest.mark.long),
    ],
)
def test_an_endpoint_without_an_answer_is_described(
    shop: Shop, merchant: Merchant, reply: Reply, words: tuple[str, ...]
) -> None:
    endpoint = merchant.endpoint(shop, reply)
    shop.sale()
    tried = endpoint.first_try(15)
    assert tried["status"] is None
    assert any(word in tried["error"] for word in words), tried["error"]


def test_a_port_where_nobody_listens_is_described(shop: Shop, merchant: Merchant) -> None:
    endpoint = merchant.endpoint(shop, url="http://127.0.0.1:1/hook")
    shop.sale()
    error = endpoint.first_try()["error"].lower()
    assert "refused" in error or "connection" in error


class _Nothing(BaseHTTPRequestHandler):
    """Is never reached, for the client trusts no certificate that the server made itself."""


@pytest.fixture
def self_signed(tmp_path: Path) -> Iterator[str]:
    """Serves TLS with a certificate that nobody signed, and provides its URL."""
    if not which("openssl"):
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += ["-nodes", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class TlsServer(HTTPServer):
        def get_request(self) -> Any:
            connection, address = super().get_request()
            return context.wrap_socket(connection, server_side=True), address

        def serve(self) -> None:
            with suppress(OSError):
                self.serve_forever(0.02)

    server = TlsServer(("127.0.0.1", 0), _Nothing)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield f"https://localhost:{server.server_port}/hook"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_that_nobody_signed_is_described(
    shop: Shop, merchant: Merchant, self_signed: str
) -> None:
    endpoint = merchant.endpoint(shop, url=self_signed)
    shop.sale()
    assert "certificate" in endpoint.first_try()["error"].lower()


def test_one_slow_answer_holds_one_slot(shop: Shop, merchant: Merchant) -> None:
    hanging: set[str] = set()

    def reply(hook: Hook, arrival: Arrival) -> None:
        if arrival.data["order_id"] in hanging:
            hook.hold()
        else:
            ok(hook, arrival)

    endpoint = merchant.endpoint(shop, reply)
    endpoint.patch(status="disabled")
    orders = _sell(shop, 100)
    hanging.update(orders[::16])
    endpoint.patch(status="active")
    healthy = set(orders) - hanging

    def delivered() -> bool:
        return healthy <= {one.data["order_id"] for one in endpoint.arrived}

    # The first hanging one is given up after 10 s.
    endpoint.wait(1)
    assert eventually(delivered, 8)


def test_an_endpoint_that_asks_for_time_gets_it(shop: Shop, merchant: Merchant) -> None:
    busy, healthy = merchant.endpoint(shop, _busy), merchant.endpoint(shop)
    _sell(shop, 200)
    healthy.wait(200)
    assert 1 <= len(busy.arrived) <= 8
    assert busy.api.send("GET", f"/v1/webhooks/{busy.id}").json()["status"] == "active"


@pytest.mark.long
def test_a_replay_comes_behind_what_is_new_and_in_the_order_of_its_events(
    shop: Shop, merchant: Merchant
) -> None:
    endpoint = merchant.endpoint(shop)
    began = shop.api.fresh("/v1/conversions")["meta"]["data_as_of"]
    sales = [shop.sale()["conversion_id"] for _ in range(100)]
    for sale in sales:
        shop.adjusted(sale, "refund", amount=10)
    endpoint.wait(200, 20)
    ended = shop.api.fresh("/v1/conversions")["meta"]["data_as_of"]
    path = f"{shop.api.reports}/v1/webhooks/{endpoint.id}/replay"
    assert shop.api.send("POST", path, json={"from": began, "to": ended}).status_code == 202
    new = shop.sale()["conversion_id"]
    arrived = endpoint.wait(401, 20)[200:]
    place = {(one.event, one.data["conversion_id"]): at for at, one in enumerate(arrived)}
    assert place["conversion.created", new] < 100
    late = [
        sale
        for sale in sales
        if place["conversion.refunded", sale] < place["conversion.created", sale]
    ]
    assert late == []


@pytest.mark.long
def test_a_disabled_endpoint_gets_twenty_thousand_orders_afterwards(
    shop: Shop, merchant: Merchant
) -> None:
    endpoint = merchant.endpoint(shop)
    endpoint.patch(status="disabled")
    orders = {order for _ in range(2) for order in _sell(shop, 10_000)}
    endpoint.patch(status="active")
    wait_for("all are delivered", lambda: len(endpoint.arrived) >= 20_000, 120)
    assert {one.data["order_id"] for one in endpoint.arrived} == orders
