"""`linkjolt up` serves a newcomer's first minutes, runs the commands, and stops cleanly."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from tests.system.conftest import COMMAND, Instance, start, wait_for

FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


def clicks_of(instance: Instance, link: str) -> int:
    rows = instance.report(group_by="link", link=link, metrics="clicks")["data"]
    return rows[0]["clicks"] if rows else 0


def test_a_click_and_a_sale_show_in_a_report(own_instance: Instance) -> None:
    link = own_instance.demo("link")
    code = link.rpartition("/")[2]
    answer = httpx2.get(link, headers=FIREFOX)
    assert answer.status_code == 302
    click_id = re.findall(r"click_id=([0-9A-Z]{26})", answer.headers["location"])[0]
    order = {"click_id": click_id, "order_value": 99.99, "order_id": "order_1"}
    key = {"Authorization": f"Bearer {own_instance.demo('key')}"}
    sale = httpx2.post(own_instance.run["edge_url"] + "/v1/conversions", json=order, headers=key)
    assert (sale.status_code, sale.json()["commission_amount"]) == (201, 29.99)

    def both_are_there() -> bool:
        totals = own_instance.report(link=code)["totals"]
        return (totals["clicks"], totals["conversions"]) == (1, 1)

    wait_for("the report shows the click and the sale", both_are_there)
    totals = own_instance.report(link=code)["totals"]
    assert (totals["revenue"], totals["commission"], totals["cr"]) == (99.99, 29.99, 1)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_printed_lines_work_as_pasted(own_instance: Instance) -> None:
    def paste(what: str) -> str:
        done = subprocess.run(
            own_instance.curl(what), shell=True, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert "302 Found" in paste("A click")
    assert '"commission_amount":29.99' in paste("A conversion")
    wait_for("the report counts the click", lambda: '"clicks":1' in paste("A report"))


def test_the_files_that_hold_secrets_are_private(instance: Instance) -> None:
    assert (instance.data / "run.json").stat().st_mode & 0o777 == 0o600
    assert (instance.data / "redis" / "redis.conf").stat().st_mode & 0o077 == 0


def test_a_second_instance_on_the_same_directory_says_who_holds_it(instance: Instance) -> None:
    done = instance.linkjolt("up", "--edge-port", "0", "--reports-port", "0")
    assert done.returncode == 1
    assert f"in use by process {instance.run['pids']['supervisor']}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_taken_port_is_named(instance: Instance, tmp_path: Path) -> None:
    port = instance.run["edge_url"].rpartition(":")[2]
    words = ["up", "--data", str(tmp_path / "data"), "--edge-port", port, "--reports-port", "0"]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert port in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_stop_loses_nothing_and_a_start_goes_on(tmp_path: Path) -> None:
    first = start(tmp_path / "data")
    code = first.demo("link").rpartition("/")[2]
    for _ in range(20):
        assert httpx2.get(first.demo("link"), headers=FIREFOX).status_code == 302
    began = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began < 10
    assert not (tmp_path / "data" / "run.json").exists()
    assert first.linkjolt("audit").stdout.endswith("clean\n")
    again = start(tmp_path / "data")
    assert again.demo("key") == first.demo("key")
    assert clicks_of(again, code) == 20
    assert again.stop() == 0


def test_the_log_holds_no_secret_address_or_email(own_instance: Instance) -> None:
    key = own_instance.demo("key")
    edge = own_instance.run["edge_url"]
    order = {
        "tracking_code": own_instance.demo("link").rpartition("/")[2],
        "order_value": 5,
        "order_id": "order_9",
        "customer_email": "someone@shop.example",
    }
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": "203.0.113.77"}
    for body in (order, {**order, "order_value": 6}, {**order, "oops": 1}):
        httpx2.post(edge + "/v1/conversions", json=body, headers=headers)
    httpx2.post(edge + "/v1/conversions", json=order, headers={"Authorization": f"Bearer {key}x"})
    httpx2.get(own_instance.demo("link"), headers={"X-Forwarded-For": "203.0.113.77"})
    password = re.findall(r":([^:@]+)@", own_instance.run["redis_url"])[0]
    assert own_instance.stop() == 0
    for secret in (key, password, "someone@", "203.0.113.77"):
        assert secret not in own_instance.log


def test_keys_and_links_are_managed_from_the_command_line(
    instance: Instance, tmp_path: Path
) -> None:
    made = instance.linkjolt("keys", "create", "--name", "shop", "--scope", "links:read", "--json")
    assert made.returncode == 0, made.stderr
    assert '"key"' in made.stdout
    assert "shop" in instance.linkjolt("keys", "list").stdout
    listed = tmp_path / "links.csv"
    assert instance.linkjolt("links", "export", str(listed)).returncode == 0
    assert instance.demo("link").rpartition("/")[2] in listed.read_text()


def test_what_is_no_terminal_is_not_shown_the_key(instance: Instance) -> None:
    key = instance.demo("key")
    assert key not in instance.printed + instance.log
    assert str(instance.data / "demo.json") in instance.printed
