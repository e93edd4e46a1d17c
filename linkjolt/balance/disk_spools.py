"""Counts the accepted events in the spool files of a data directory, whether an edge runs or not.

The files are those of `ingest/publishing/spool_files.py`, and only read.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import structlog

from linkjolt import redis_keys

_EVENTS = "SELECT stream, sum(events) FROM frames GROUP BY stream"
log = structlog.get_logger()


class SpooledEvents(msgspec.Struct, frozen=True):
    """The events of one stream in one spool file, which was last written so many seconds ago."""

    stream: str
    events: int
    unchanged_seconds: float


def read_spools(folder: Path) -> list[SpooledEvents]:
    """Reads the spool files of a folder; one that cannot be read is logged."""
    return [spooled for path in sorted(folder.glob("*.spool")) for spooled in _read(path)]


def _read(path: Path) -> Iterator[SpooledEvents]:
    try:
        # Before the file is opened: to read a write-ahead log SQLite may create an empty one.
        unchanged_seconds = time.time() - _written_at(path)
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            rows: list[tuple[int, int]] = database.execute(_EVENTS).fetchall()
    except (OSError, sqlite3.Error) as error:
        log.warning("spool file not read", file=path.name, error=str(error))
        return
    for number, events in rows:
        stream = redis_keys.stream(number)
        yield SpooledEvents(f"{stream.kind}/{stream.shard}", events, unchanged_seconds)


def _written_at(path: Path) -> float:
    """Returns when a database or its write-ahead log was last written."""
    written_at = path.stat().st_mtime
    with suppress(FileNotFoundError):
        log_file = path.with_name(f"{path.name}-wal").stat()
        if log_file.st_size:
            written_at = max(written_at, log_file.st_mtime)
    return written_at
