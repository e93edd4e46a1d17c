"""The spool: what an edge accepts while Redis is away, on disk in SQLite, in order.

One file a worker, held by a lock; WAL with synchronous=FULL, so that a commit is on disk (SQLite,
"PRAGMA synchronous"). Frames of one stream are numbered here, one more than the last each.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from ingest.publishing.frames import Frame, Numbered, Payload, Spooled
from linkjolt.fault_points import fault

SCHEMA = """
CREATE TABLE IF NOT EXISTS frames (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL,
    producer TEXT NOT NULL,
    number INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    marked INTEGER NOT NULL,
    events INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS frames_by_stream ON frames (stream, seq);
CREATE TABLE IF NOT EXISTS queued (conversion_id TEXT PRIMARY KEY, seq INTEGER NOT NULL);
"""
_CHECKPOINT_BYTES = 8 << 20
T = TypeVar("T")


class SpoolFull(Exception):
    """The file reached its bound, or the disk is full: nothing of this frame was kept."""


class Spool:
    """One open file; its statements run in one thread, one after the other."""

    def __init__(
        self,
        database: sqlite3.Connection,
        new_producer: Callable[[], str],
        checkpoint: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        """`database` is open and has SCHEMA; `closed` is called after it was closed.

        `checkpoint`, on a connection of its own, moves the write-ahead log into the file: by
        the writer itself that would let visitors wait for some 300 ms every few seconds.
        """
        self._database = database
        self._new_producer = new_producer
        self._checkpoint = checkpoint
        self._closed = closed
        self._unchecked_bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._second_thread = ThreadPoolExecutor(1, thread_name_prefix="spool-checkpoint")
        self._pending: list[tuple[Frame, asyncio.Future[None]]] = []
        self._committer: asyncio.Task[None] | None = None
        self._last: dict[int, Numbered] = {}
        self.events: dict[int, int] = {}
        self._read_state()

    def _read_state(self) -> None:
        """What a dead worker left: counts, numbering, and a mark on each stream's first frame."""
        database = self._database
        with database:
            for stream, events, first, last in database.execute(
                "SELECT stream, sum(events), min(seq), max(seq) FROM frames GROUP BY stream"
            ).fetchall():
                self.events[stream] = events
                database.execute("UPDATE frames SET marked = 1 WHERE seq = ?", (first,))
                row = database.execute(
                    "SELECT producer, number, acknowledged FROM frames WHERE seq = ?", (last,)
                ).fetchone()
                self._last[stream] = Numbered(*row)

    async def add(self, frame: Frame) -> None:
        """Returns when the frame is on disk; SpoolFull where it is not. Many share a commit."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((frame, kept))
        self.events[frame.stream] = self.events.get(frame.stream, 0) + frame.events
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit_pending())
        await kept

    async def _commit_pending(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                await self._in_thread(lambda batch=batch: self._insert([f for f, _ in batch]))
            except sqlite3.Error as error:
                for frame, kept in batch:
                    self.events[frame.stream] -= frame.events
                    kept.set_exception(SpoolFull(str(error)))
                    kept.exception()
            else:
                for _, kept in batch:
                    kept.set_result(None)
        self._committer = None

    def _insert(self, frames: Sequence[Frame]) -> None:
        fault("spool_before_commit")
        last = dict(self._last)
        with self._database as database:
            for frame in frames:
                at = frame.at or self._next(last, frame.stream)
                last[frame.stream] = at
                cursor = database.execute(
                    "INSERT INTO frames (stream, producer, number, acknowledged, marked, events,"
                    " payload) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        frame.stream,
                        at.producer,
                        at.number,
                        at.acknowledged,
                        frame.at is not None,
                        frame.events,
                        msgspec.msgpack.encode(frame.payload),
                    ),
                )
                database.executemany(
                    "INSERT OR REPLACE INTO queued VALUES (?, ?)",
                    [(name, cursor.lastrowid) for name in frame.conversion_ids],
                )
        self._last = last
        fault("spool_after_commit")
        self._unchecked_bytes += sum(len(a) for f in frames for a in f.payload.arguments)
        if self._unchecked_bytes > _CHECKPOINT_BYTES:
            self._unchecked_bytes = 0
            self._second_thread.submit(self._checkpoint)

    def _next(self, last: dict[int, Numbered], stream: int) -> Numbered:
        at = last.get(stream)
        return at.next() if at else Numbered(self._new_producer(), 1)

    async def first(self, stream: int, count: int) -> list[Spooled]:
        """The oldest frames of a stream."""
        return await self._in_thread(lambda: self._first(stream, count))

    def _first(self, stream: int, count: int) -> list[Spooled]:
        rows = self._database.execute(
            "SELECT seq, producer, number, acknowledged, marked, events, payload FROM frames"
            " WHERE stream = ? ORDER BY seq LIMIT ?",
            (stream, count),
        ).fetchall()
        return [
            Spooled(seq, Numbered(*place), bool(marked), events, _payload(payload))
            for seq, *place, marked, events, payload in rows
        ]

    async def remove(self, stream: int, frames: Sequence[Spooled]) -> None:
        """Forgets frames that are in the stream."""
        await self._in_thread(lambda: self._remove([frame.seq for frame in frames]))
        self.events[stream] -= sum(frame.events for frame in frames)

    def _remove(self, seqs: Sequence[int]) -> None:
        with self._database as database:
            database.executemany("DELETE FROM frames WHERE seq = ?", [(seq,) for seq in seqs])
            database.executemany("DELETE FROM queued WHERE seq = ?", [(seq,) for seq in seqs])

    async def renumber(self, stream: int) -> None:
        """All frames of a stream get a new producer's numbers and a mark, in one transaction.

        For a Redis that knows the producer no more: a gap would never close otherwise.
        """
        await self._in_thread(lambda: self._renumber(stream))

    def _renumber(self, stream: int) -> None:
        producer = self._new_producer()
        with self._database as database:
            rows = database.execute(
                "SELECT seq FROM frames WHERE stream = ? ORDER BY seq", (stream,)
            ).fetchall()
            database.executemany(
                "UPDATE frames SET producer = ?, number = ?, acknowledged = 0, marked = 1"
                " WHERE seq = ?",
                [(producer, number, seq) for number, (seq,) in enumerate(rows, 1)],
            )
        self._last[stream] = Numbered(producer, len(rows))

    def last(self, stream: int) -> Numbered | None:
        """The highest number given to a frame of the stream; None before the first."""
        return self._last.get(stream)

    def waiting(self, stream: int) -> int:
        """Events of a stream that are kept or being kept."""
        return self.events.get(stream, 0)

    @property
    def total(self) -> int:
        """Events of all streams."""
        return sum(self.events.values())

    async def close(self) -> None:
        """Closes the file."""
        while self._committer is not None:
            await self._committer
        await self._in_thread(self._second_thread.shutdown)
        await self._in_thread(self._database.close)
        self._thread.shutdown()
        self._closed()

    async def _in_thread(self, run: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, run)


def _payload(raw: bytes) -> Payload:
    return msgspec.msgpack.decode(raw, type=Payload)
