"""Keeps one instance per data directory: its lock, and run.json, by which commands find it."""

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

import click
import msgspec

from linkjolt.runtime.data_directory import make_private

# A socket's path has at most 104 bytes on macOS and 108 on Linux, its final zero among them.
_SOCKET_PATH_MAX = 100
# A reader holds the lock for microseconds: that must not look like another instance.
_LOCK_TRIES = 20
_LOCK_RETRY_SECONDS = 0.01


class InstanceBusy(click.ClickException):
    """Refuses a directory that another process holds; the message names both."""


class Pids(msgspec.Struct, frozen=True):
    """Process ids; null is not running, or not ours (an external Redis).

    Never 0: to signal process 0 hits the sender's own group. Older releases wrote it.
    """

    supervisor: int
    redis: int | None
    warehouse: int | None
    edge: list[int]
    webhooks: int | None = None


class Run(msgspec.Struct, frozen=True):
    """Addresses and process ids of a running instance; `control` is the warehouse's Unix socket."""

    edge_url: str
    reports_url: str
    redis_url: str
    control: str
    pids: Pids
    # The certificate that both listeners serve; empty without TLS.
    tls_cert: str = ""


def write_run(data: str, run: Run) -> None:
    """Replaces run.json atomically, readable by this user only: it holds a password."""
    write_private(_run_path(data), msgspec.json.format(msgspec.json.encode(run)) + b"\n")


def write_private(path: Path, content: bytes) -> None:
    """Replaces a file atomically, readable by this user only."""
    # One name is enough: only the lock's holder writes, and overwrites what a crash left.
    new = path.with_name(f".{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    os.replace(new, path)


def remove_run(data: str) -> None:
    _run_path(data).unlink(missing_ok=True)


def read_run(data: str) -> Run | None:
    """Reads run.json of the instance that runs under the directory; None when none does."""
    return last_run(data) if _is_locked(Path(data, "lock")) else None


def last_run(data: str) -> Run | None:
    """Reads run.json, even one that a killed instance left behind."""
    try:
        return msgspec.json.decode(_run_path(data).read_bytes(), type=Run)
    except (OSError, msgspec.DecodeError):
        return None


def find_redis_url(data: str, redis_url: str) -> str:
    """Finds the Redis URL: as configured, else of the instance running under the directory."""
    if redis_url:
        return redis_url
    if run := read_run(data):
        return run.redis_url
    raise click.ClickException(
        f"nothing is running under {data}: start `linkjolt up` or set LINKJOLT_REDIS_URL"
    )


def _run_path(data: str) -> Path:
    return Path(data, "run.json")


@contextmanager
def hold(data: str) -> Generator[None]:
    """Holds the data directory (created, private) for this process; InstanceBusy when taken."""
    make_private(data)
    with lock(Path(data, "lock"), data):
        yield


@contextmanager
def lock(path: Path, resource: str) -> Generator[None]:
    """Holds a lock file with this process's id in it, until the process ends at the latest.

    InstanceBusy, naming `resource` and the holder, when another process holds it.
    """
    with _open_lock(path) as file:
        if not _take(file.fileno()):
            holder = file.read().decode().strip() or "unknown"
            raise InstanceBusy(f"{resource} is in use by process {holder}{_where(path.parent)}")
        file.truncate(0)
        file.write(b"%d\n" % os.getpid())
        yield
        file.truncate(0)


def _where(data: Path) -> str:
    """Says at which address the instance that holds the directory answers, where it says so."""
    run = last_run(str(data))
    return f", LinkJolt at {run.edge_url}" if run else ""


def _open_lock(path: Path) -> FileIO:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise click.ClickException(f"cannot use {path}: {error.strerror}") from None
    return open(fd, "r+b", buffering=0)


def _take(fd: int) -> bool:
    for _ in range(_LOCK_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_LOCK_RETRY_SECONDS)
    return False


def _is_locked(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def control_path(data: str) -> str:
    """Path of the warehouse's Unix socket: in the directory, or in /tmp where that is too long."""
    path = str(Path(data).resolve() / "control.sock")
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        return path
    name = hashlib.blake2s(os.fsencode(path), digest_size=8).hexdigest()
    folder = Path(tempfile.gettempdir(), f"linkjolt-{name}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise click.ClickException(f"{folder} must belong to this user alone: remove it")
    return str(folder / "control.sock")
