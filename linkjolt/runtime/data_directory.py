"""Keeps the data directory private: it holds customers' ids, visitors' addresses and secrets."""

import os
import stat
import tempfile
from pathlib import Path

import click
import structlog

# The folders in it, any of which may be a link to another disk.
_FOLDERS = ("redis", "clickhouse", "spool", "edge", "metrics")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_log = structlog.get_logger()


def make_private(data: str) -> None:
    """Creates the data directory with mode 0700, or tightens one that is open to other users.

    Raises a ClickException if it is another user's, or cannot be tightened: its owner could read
    all that is written. A file system without permissions gets a warning.
    """
    root = Path(data)
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (root, *(root / name for name in _FOLDERS)):
            if folder.is_dir():
                _make_private(folder)
    except OSError as error:
        raise click.ClickException(f"cannot use {data}: {error.strerror}") from None


def _make_private(folder: Path) -> None:
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == os.geteuid() and not mode & _OTHERS:
        return
    if not _has_permissions(folder):
        _log.warning(
            "the file system of the data directory has no permissions:"
            " keep other users away from it by its mount options",
            path=str(folder),
        )
    elif status.st_uid != os.geteuid():
        raise click.ClickException(
            f"{folder} belongs to another user, who could read all data: start as user id"
            f" {status.st_uid}, change its owner, or set LINKJOLT_DATA to a directory in it"
        )
    else:
        _tighten(folder, mode)


def _tighten(folder: Path, mode: int) -> None:
    try:
        folder.chmod(0o700)
    except OSError as error:
        raise click.ClickException(
            f"{folder} is open to other users (mode {mode:04o}), and it cannot be changed to 0700:"
            f" {error.strerror}"
        ) from None
    _log.warning(
        "the data directory was open to other users: its mode is 0700 now",
        path=str(folder),
        mode_before=f"{mode:04o}",
    )


def _has_permissions(folder: Path) -> bool:
    """Returns False on a file system on which a private file is not private (FAT, some shares)."""
    try:
        fd, path = tempfile.mkstemp(dir=folder, prefix=".mode-")
    except PermissionError:
        return True
    try:
        status = os.fstat(fd)
        return status.st_uid == os.geteuid() and not status.st_mode & _OTHERS
    finally:
        os.close(fd)
        os.unlink(path)
