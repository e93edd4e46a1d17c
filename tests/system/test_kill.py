"""A process killed with -9 in mid-load loses and doubles nothing acknowledged."""

import os
import signal
import threading
from pathlib import Path

import httpx2
import pytest

from tests.system.conftest import Instance, wait_for

LINES = 3_000
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
)


def write_log(path: Path, lines: int) -> dict[str, int]:
    """Writes a combined access log; returns the count of requests by path."""
    counts: dict[str, int] = {}
    with open(path, "w") as file:
        for number in range(lines):
            name = f"/page/{number * number % 37}"
            counts[name] = counts.get(name, 0) + 1
            file.write(
                f"198.51.{number % 250}.7 - - [17/May/2015:10:05:03 +0000]"
                f' "GET {name}?q={number} HTTP/1.1" 200 10 "-" "{AGENTS[number % 2]}"\n'
            )
    return counts


def reported_clicks(instance: Instance) -> int:
    report = instance.report(group_by="verdict", metrics="clicks")
    return sum(row["clicks"] for row in report["data"])


@pytest.mark.long
def test_a_replayed_log_adds_up_link_by_link(own_instance: Instance, tmp_path: Path) -> None:
    counts = write_log(tmp_path / "access.log", 1_000)
    with open(tmp_path / "access.log", "a") as file:
        file.write("this is no log line\n")
    done = own_instance.linkjolt("replay", str(tmp_path / "access.log"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1001" in done.stdout
    wait_for("all clicks are reported", lambda: reported_clicks(own_instance) == 1_000)
    report = own_instance.report(group_by="link,verdict", metrics="clicks", limit="1000")
    by_link: dict[str, int] = {}
    for row in report["data"]:
        by_link[row["link"]] = by_link.get(row["link"], 0) + row["clicks"]
    assert sorted(n for n in by_link.values() if n) == sorted(counts.values())
    by_verdict = own_instance.report(group_by="verdict", metrics="clicks")["data"]
    assert {r["verdict"]: r["clicks"] for r in by_verdict if r["clicks"]} == {
        "human": 500,
        "bot": 500,
    }
    assert own_instance.linkjolt("audit").returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("victim", ["warehouse", "redis"])
def test_a_process_killed_in_mid_replay_loses_and_doubles_nothing(
    own_instance: Instance, tmp_path: Path, victim: str
) -> None:
    write_log(tmp_path / "access.log", LINES)
    replay = threading.Thread(
        target=own_instance.linkjolt,
        args=("replay", str(tmp_path / "access.log"), "--rate", "1500"),
    )
    replay.start()
    wait_for("the load has begun", lambda: accepted(own_instance) > 300)
    killed = own_instance.run["pids"][victim]
    os.kill(killed, signal.SIGKILL)
    replay.join(60)
    wait_for("it is started again", lambda: own_instance.run["pids"][victim] not in (None, killed))
    wait_for("the audit is clean", lambda: own_instance.linkjolt("audit").returncode == 0, 30)
    assert f'"child": "{victim}"' in own_instance.log
    taken = accepted(own_instance)
    # A click whose reply was lost is stored and not acknowledged: more may be there, never less.
    wait_for(
        "all that was acknowledged is reported", lambda: reported_clicks(own_instance) >= taken
    )
    if victim == "warehouse":
        assert taken == reported_clicks(own_instance) == LINES


def accepted(instance: Instance) -> int:
    """Reads the clicks that the edges count as on disk."""
    text = httpx2.get(instance.run["edge_url"] + "/metrics").text
    lines = [
        line for line in text.splitlines() if line.startswith("linkjolt_clicks_accepted_total")
    ]
    return int(float(lines[0].split()[-1])) if lines else 0
