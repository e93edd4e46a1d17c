"""Neither a name that is not resolved nor a delivery that always fails stops other deliveries."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.money.conftest import PATIENT, running
from tests.money.merchant import Arrival, Hook, Merchant, ok
from tests.money.shop import Api, Shop, eventually, lines, unique
from tests.system.conftest import wait_for

# Python runs it when a process of the installation starts: look-ups of one name hang, and retries
# come at once, for a test cannot wait three days.
_FAULTS = """
import socket, time
from outbound import retries

retries.DELAYS_SECONDS = (0.0, 0.05, 0.05, 0.05)
resolve = socket.getaddrinfo

def getaddrinfo(host, *args, **more):
    if host in ("hanging.example", b"hanging.example"):
        time.sleep(15)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")
    return resolve(host, *args, **more)

socket.getaddrinfo = getaddrinfo
"""
_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "sitecustomize.py").write_text(_FAULTS)
    path = os.pathsep.join((str(folder), str(_ROOT)))
    with running(folder, PYTHONPATH=path, **PATIENT) as one:
        yield one


def test_a_name_that_is_not_resolved_delays_no_other_endpoint(
    faulty: Api, merchant: Merchant
) -> None:
    shop, other = Shop(faulty), Shop(faulty)
    for _ in range(3):
        merchant.endpoint(shop, host="http://hanging.example")
    bodies = [
        {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": 1} for _ in range(30)
    ]
    shop.post_text(lines(bodies), **{"Content-Type": "application/x-ndjson"})
    first = merchant.endpoint(shop, host="http://127.0.0.1")
    last = shop.sale()["conversion_id"]
    assert eventually(lambda: bool(first.told(last)), 8)
    # Its name is looked up while the others are; they are given up after 10 s.
    healthy = merchant.endpoint(other, host="http://localhost")
    sales = {other.sale()["conversion_id"] for _ in range(20)}
    assert {one.data["conversion_id"] for one in healthy.wait(20, 8)} == sales


def test_a_delivery_that_always_fails_disables_no_endpoint_that_takes_others(
    faulty: Api, merchant: Merchant
) -> None:
    shop, poison = Shop(faulty), unique("poison")

    def reply(hook: Hook, arrival: Arrival) -> None:
        if arrival.data["order_id"] == poison:
            hook.reply(400)
        else:
            ok(hook, arrival)

    endpoint = merchant.endpoint(shop, reply)
    for number in range(60):
        shop.sale(order_id=poison if number == 30 else unique())
    wait_for("it is given up", lambda: "failed" in endpoint.states(), 20)
    assert endpoint.states().count("failed") == 1
    last = shop.sale()["conversion_id"]
    assert eventually(lambda: bool(endpoint.told(last)), 10)
    webhook = faulty.send("GET", f"/v1/webhooks/{endpoint.id}").json()
    assert (webhook["status"], webhook["disabled_reason"]) == ("active", None)


def test_an_endpoint_that_fails_always_is_disabled_with_a_reason(
    faulty: Api, merchant: Merchant
) -> None:
    shop = Shop(faulty)

    def reply(hook: Hook, _: Arrival) -> None:
        hook.reply(500)

    endpoint = merchant.endpoint(shop, reply)
    shop.sale()

    def webhook(field: str) -> str:
        return faulty.send("GET", f"/v1/webhooks/{endpoint.id}").json()[field]

    wait_for("it is disabled", lambda: webhook("status") == "disabled", 20)
    assert "500" in webhook("disabled_reason")
