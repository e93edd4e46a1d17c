"""Locks and opens spool files, and sets broken ones aside."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import structlog

from ingest.publishing.spool import SPOOL_SCHEMA, Spool

_PAGE_BYTES = 4_096
# Errors of the machine, such as no descriptor or no room, which say nothing about the file.
_PASSING_CODES = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)
log = structlog.get_logger()


def open_abandoned_spools(
    folder: Path, max_bytes: int, new_producer: Callable[[], str]
) -> Iterator[Spool]:
    """Opens the spools under the folder that no process holds any more; else OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in sorted(folder.glob("*.spool")):
        if spool := _lock_and_open(path, max_bytes, new_producer):
            yield spool


def open_spool(folder: Path, max_bytes: int, new_producer: Callable[[], str]) -> Spool:
    """Opens a dead worker's spool, else a new one; OSError where none can be created."""
    for spool in open_abandoned_spools(folder, max_bytes, new_producer):
        return spool
    spool = _lock_and_open(folder / f"{new_producer()}.spool", max_bytes, new_producer)
    if spool is None:
        raise OSError(f"no spool can be made under {folder}")
    return spool


def is_queued(folder: Path, conversion_id: str) -> bool:
    """Returns True while any worker's spool under the folder holds this conversion."""
    return any(_holds_conversion(path, conversion_id) for path in folder.glob("*.spool"))


def _holds_conversion(path: Path, conversion_id: str) -> bool:
    sql = "SELECT count(*) FROM queued WHERE conversion_id = ?"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(sql, (conversion_id,)).fetchone()[0] > 0
    except sqlite3.Error:
        return False


def _lock_and_open(path: Path, max_bytes: int, new_producer: Callable[[], str]) -> Spool | None:
    lock_fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        database = _open(path, max_bytes)
    except BlockingIOError:
        os.close(lock_fd)
        return None
    except sqlite3.DatabaseError as error:
        if _may_pass(error):
            os.close(lock_fd)
            raise OSError(f"spool file {path.name}: {error}") from error
        # Left for an operator to look at; the start does not wait for that.
        log.error("spool file set aside", file=path.name, error=str(error))
        for part in _database_files(path):
            with suppress(FileNotFoundError):
                part.rename(part.with_name(part.name + ".bad"))
        os.close(lock_fd)
        return None

    def checkpoint() -> None:
        with closing(sqlite3.connect(path)) as second:
            # PASSIVE copies as much as it can without blocking the writer.
            second.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def closed() -> None:
        os.close(lock_fd)

    return Spool(database, new_producer, checkpoint, closed)


def _may_pass(error: sqlite3.DatabaseError) -> bool:
    """Returns True for an error that a later try may not meet."""
    # An extended code has its primary one in the lowest byte.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING_CODES


def _database_files(path: Path) -> list[Path]:
    return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]


def _open(path: Path, max_bytes: int) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("quick_check failed")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.executescript(SPOOL_SCHEMA)
        database.execute(f"PRAGMA max_page_count = {max(64, max_bytes // _PAGE_BYTES)}")
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database
