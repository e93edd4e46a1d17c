"""During an outage of Redis clicks redirect, conversions queue, and all count once afterwards."""

import os
import signal

import httpx2
import pytest

from tests.system.conftest import Instance, wait_for

FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


def post(instance: Instance, order_id: str, value: float = 10) -> httpx2.Response:
    body = {
        "tracking_code": instance.demo("link").rpartition("/")[2],
        "order_value": value,
        "order_id": order_id,
    }
    headers = {"Authorization": f"Bearer {instance.demo('key')}"}
    url = instance.run["edge_url"] + "/v1/conversions"
    return httpx2.post(url, json=body, headers=headers, timeout=20)


def outcome(instance: Instance, conversion_id: str) -> httpx2.Response:
    return instance.api("edge_url", path=f"/v1/conversions/{conversion_id}", timeout=20)


def totals(instance: Instance) -> tuple[int, int]:
    found = instance.report(link=instance.demo("link").rpartition("/")[2])["totals"]
    return found["clicks"], found["conversions"]


def test_everything_of_an_outage_is_counted_once_afterwards(own_instance: Instance) -> None:
    link, redis = own_instance.demo("link"), own_instance.run["pids"]["redis"]
    with httpx2.Client(headers=FIREFOX) as visitor:
        assert visitor.get(link).status_code == 302
        assert post(own_instance, "before").status_code == 201
        os.kill(redis, signal.SIGSTOP)
        try:
            assert {visitor.get(link).status_code for _ in range(200)} == {302}
            queued = post(own_instance, "during")
            again = post(own_instance, "before")
            other = post(own_instance, "before", value=11)
        finally:
            os.kill(redis, signal.SIGCONT)
        assert [a.status_code for a in (queued, again, other)] == [202, 202, 202]
        assert queued.json()["status"] == "queued"
        wait_for("all of it is reported", lambda: totals(own_instance) == (201, 2), 30)
    stored = outcome(own_instance, queued.json()["conversion_id"]).json()
    assert (stored["status"], stored["order_id"]) == ("pending", "during")
    same = outcome(own_instance, again.json()["conversion_id"]).json()
    assert same["order_id"] == "before"
    refused = outcome(own_instance, other.json()["conversion_id"]).json()
    assert (refused["status"], refused["reason"]) == ("refused", "conflict")
    assert refused["conflicts_with"] == same["conversion_id"]
    audit = own_instance.linkjolt("audit")
    assert audit.returncode == 0, audit.stdout
    assert "rejected 2" in audit.stdout


@pytest.mark.long
def test_an_edge_that_starts_without_redis_redirects_from_its_snapshot(
    own_instance: Instance,
) -> None:
    link, pids = own_instance.demo("link"), own_instance.run["pids"]
    assert httpx2.get(link, headers=FIREFOX).status_code == 302
    snapshot = own_instance.data / "edge" / "registry.db-wal"
    wait_for("the registry is copied", lambda: snapshot.exists() and snapshot.stat().st_size > 0)
    os.kill(pids["redis"], signal.SIGSTOP)
    try:
        os.kill(pids["edge"][0], signal.SIGKILL)

        def redirected() -> bool:
            try:
                return httpx2.get(link, headers=FIREFOX).status_code == 302
            except httpx2.TransportError:
                return False

        wait_for("a new edge redirects", redirected, 30)
        assert post(own_instance, "during").status_code == 202
    finally:
        os.kill(pids["redis"], signal.SIGCONT)
    wait_for("the click and the sale are reported", lambda: totals(own_instance)[1] == 1, 30)
    wait_for("the audit is clean", lambda: own_instance.linkjolt("audit").returncode == 0)
