"""A process stops once on signals, logs its failure, and ends with its supervisor."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from linkjolt.runtime.lifecycle import SUPERVISOR_PID
from tests.waiting import wait_until

_STOPS = """
import asyncio, sys
from linkjolt.runtime import lifecycle
async def main(stop):
    print("running", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print("stopped", flush=True)
lifecycle.run(main)
"""
_FAILS = """
from linkjolt.runtime import lifecycle
async def main(stop):
    raise ValueError("broken at redis://:secret@h/0")
lifecycle.run(main)
"""
_ORPHAN = """
import sys
from pathlib import Path
from linkjolt.runtime import lifecycle
async def main(stop):
    print("running", flush=True)
    await stop.wait()
    Path(sys.argv[1]).write_text("stopped")
lifecycle.run(main)
"""
_PARENT = """
import os, subprocess, sys, time
environ = {**os.environ, sys.argv[1]: str(os.getpid())}
subprocess.Popen([sys.executable, "-c", *sys.argv[2:]], env=environ)
time.sleep(60)
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_process_asked_to_stop_ends_its_work_whatever_further_signals_arrive() -> None:
    with start(_STOPS) as process:
        assert next_line(process) == "running"
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == "stopping"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate("\n")
    assert output == "stopped\n"
    assert process.returncode == 0


def test_a_process_that_fails_logs_why_and_exits_with_1() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FAILS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    line = json.loads(done.stderr)
    assert line["level"] == "error"
    assert line["exception"].endswith("ValueError: broken at redis://***@h/0")


async def test_a_child_stops_by_itself_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    with start(_PARENT, SUPERVISOR_PID, _ORPHAN, str(stopped)) as parent:
        assert next_line(parent) == "running"
        os.kill(parent.pid, signal.SIGKILL)
        await wait_until(stopped.exists)
