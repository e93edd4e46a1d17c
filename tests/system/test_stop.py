"""A stop under load answers the requests in flight and stores everything answered."""

import os
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from tests.system.conftest import Instance, start, wait_for

FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
VISITORS = 8


@dataclass
class VisitorLoad:
    """Visitors on keep-alive connections, each clicking as fast as it is answered."""

    link: str
    answered: list[int] = field(default_factory=list[int])
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def begin(self) -> None:
        self.threads = [threading.Thread(target=self._visit) for _ in range(VISITORS)]
        for thread in self.threads:
            thread.start()

    def _visit(self) -> None:
        with httpx2.Client(headers=FIREFOX, timeout=10) as client:
            while not self.stop.is_set():
                try:
                    self.answered.append(client.get(self.link).status_code)
                except httpx2.TransportError:
                    # Nobody listens, or an idle connection was closed: not acknowledged.
                    self.stop.wait(0.01)

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(15)


def clicks(instance: Instance) -> int:
    """Reads the reported clicks; -1 while reports do not answer."""
    try:
        answer = instance.api(
            "reports_url",
            path="/v1/reports",
            params={"group_by": "verdict", "metrics": "clicks"},
        )
    except httpx2.TransportError:
        return -1
    return answer.json()["totals"]["clicks"] if answer.status_code == 200 else -1


def pid(instance: Instance, process: str) -> int | None:
    """Reads the process id of the (first) process of a kind; None while there is none."""
    pids = instance.run["pids"]
    return next(iter(pids["edge"]), None) if process == "edge" else pids[process]


def test_a_stop_of_the_whole_under_load_loses_nothing(tmp_path: Path) -> None:
    first = start(tmp_path / "data")
    load = VisitorLoad(first.demo("link"))
    load.begin()
    try:
        wait_for("the load has begun", lambda: len(load.answered) > 500)
        assert first.stop() == 0
    finally:
        load.end()
    assert set(load.answered) == {302}
    assert first.linkjolt("audit").returncode == 0
    again = start(tmp_path / "data")
    try:
        # A click that was stored and whose answer did not get out may be there as well.
        assert len(load.answered) <= clicks(again) <= len(load.answered) + VISITORS
    finally:
        again.stop()


@pytest.mark.parametrize(
    "process",
    ["edge", *(pytest.param(name, marks=pytest.mark.long) for name in ("warehouse", "redis"))],
)
def test_a_stop_of_one_process_under_load_loses_nothing(
    own_instance: Instance, process: str
) -> None:
    load = VisitorLoad(own_instance.demo("link"))
    load.begin()
    try:
        wait_for("the load has begun", lambda: len(load.answered) > 300)
        stopped = pid(own_instance, process)
        before = len(load.answered)
        assert stopped
        os.kill(stopped, signal.SIGTERM)
        gone = (None, stopped)
        wait_for("it is started again", lambda: pid(own_instance, process) not in gone, 20)
        wait_for("the load goes on", lambda: len(load.answered) > before + 300, 30)
    finally:
        load.end()
    assert set(load.answered) == {302}
    count = len(load.answered)
    wait_for("all of it is reported", lambda: clicks(own_instance) >= count, 30)
    assert clicks(own_instance) <= count + 2 * VISITORS
    wait_for("the audit is clean", lambda: own_instance.linkjolt("audit").returncode == 0)
