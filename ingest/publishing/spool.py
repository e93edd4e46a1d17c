"""Stores on disk, in order, what an edge accepts while Redis is unavailable.

One SQLite file a worker, held by a lock; WAL with synchronous=FULL, so that a commit is on disk
(SQLite, "PRAGMA synchronous"). Consecutive frames of a stream get consecutive numbers here.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from ingest.publishing.frames import Frame, FrameNumber, Payload, SpooledFrame
from linkjolt.fault_points import fault

SPOOL_SCHEMA = """
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
    """The file reached its bound, or the disk is full: nothing of this frame was stored."""


class Spool:
    """One open spool file; its statements run in one thread, one after the other."""

    def __init__(
        self,
        database: sqlite3.Connection,
        new_producer: Callable[[], str],
        checkpoint: Callable[[], None],
        on_closed: Callable[[], None],
    ) -> None:
        """`database` is open and has SPOOL_SCHEMA; `on_closed` is called after closing it.

        `checkpoint`, on a connection of its own, moves the write-ahead log into the file: done
        by the writer, it would make visitors wait some 300 ms every few seconds.
        """
        self._database = database
        self._new_producer = new_producer
        self._checkpoint = checkpoint
        self._on_closed = on_closed
        self._uncheckpointed_bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._checkpoint_thread = ThreadPoolExecutor(1, thread_name_prefix="spool-checkpoint")
        self._pending: list[tuple[Frame, asyncio.Future[None]]] = []
        self._committer: asyncio.Task[None] | None = None
        self._last_numbers: dict[int, FrameNumber] = {}
        self.events_by_stream: dict[int, int] = {}
        self._recover()

    def _recover(self) -> None:
        """Reads a dead worker's counts and numbers, and marks each stream's first frame."""
        database = self._database
        with database:
            for stream, events, first_seq, last_seq in database.execute(
                "SELECT stream, sum(events), min(seq), max(seq) FROM frames GROUP BY stream"
            ).fetchall():
                self.events_by_stream[stream] = events
                database.execute("UPDATE frames SET marked = 1 WHERE seq = ?", (first_seq,))
                row = database.execute(
                    "SELECT producer, number, acknowledged FROM frames WHERE seq = ?", (last_seq,)
                ).fetchone()
                self._last_numbers[stream] = FrameNumber(*row)

    async def add(self, frame: Frame) -> None:
        """Stores a frame; SpoolFull where that fails. Frames added at once share a commit."""
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((frame, durable))
        self.events_by_stream[frame.stream] = (
            self.events_by_stream.get(frame.stream, 0) + frame.events
        )
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit_pending())
        await durable

    async def _commit_pending(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                await self._in_thread(lambda batch=batch: self._insert([f for f, _ in batch]))
            except sqlite3.Error as error:
                for frame, durable in batch:
                    self.events_by_stream[frame.stream] -= frame.events
                    durable.set_exception(SpoolFull(str(error)))
                    durable.exception()
            else:
                for _, durable in batch:
                    durable.set_result(None)
        self._committer = None

    def _insert(self, frames: Sequence[Frame]) -> None:
        fault("spool_before_commit")
        last_numbers = dict(self._last_numbers)
        with self._database as database:
            for frame in frames:
                frame_number = frame.frame_number or self._next_number(last_numbers, frame.stream)
                last_numbers[frame.stream] = frame_number
                cursor = database.execute(
                    "INSERT INTO frames (stream, producer, number, acknowledged, marked, events,"
                    " payload) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        frame.stream,
                        frame_number.producer,
                        frame_number.number,
                        frame_number.acknowledged_events,
                        frame.frame_number is not None,
                        frame.events,
                        msgspec.msgpack.encode(frame.payload),
                    ),
                )
                database.executemany(
                    "INSERT OR REPLACE INTO queued VALUES (?, ?)",
                    [(name, cursor.lastrowid) for name in frame.conversion_ids],
                )
        self._last_numbers = last_numbers
        fault("spool_after_commit")
        self._uncheckpointed_bytes += sum(len(a) for f in frames for a in f.payload.arguments)
        if self._uncheckpointed_bytes > _CHECKPOINT_BYTES:
            self._uncheckpointed_bytes = 0
            self._checkpoint_thread.submit(self._checkpoint)

    def _next_number(self, last_numbers: dict[int, FrameNumber], stream: int) -> FrameNumber:
        last_number = last_numbers.get(stream)
        return last_number.next() if last_number else FrameNumber(self._new_producer(), 1)

    async def oldest_frames(self, stream: int, count: int) -> list[SpooledFrame]:
        """Reads the oldest frames of a stream, at most `count`."""
        return await self._in_thread(lambda: self._read_oldest(stream, count))

    def _read_oldest(self, stream: int, count: int) -> list[SpooledFrame]:
        rows = self._database.execute(
            "SELECT seq, producer, number, acknowledged, marked, events, payload FROM frames"
            " WHERE stream = ? ORDER BY seq LIMIT ?",
            (stream, count),
        ).fetchall()
        return [
            SpooledFrame(seq, FrameNumber(*place), bool(marked), events, _decode_payload(payload))
            for seq, *place, marked, events, payload in rows
        ]

    async def remove(self, stream: int, frames: Sequence[SpooledFrame]) -> None:
        """Deletes frames that are in the stream."""
        await self._in_thread(lambda: self._remove([frame.seq for frame in frames]))
        self.events_by_stream[stream] -= sum(frame.events for frame in frames)

    def _remove(self, seqs: Sequence[int]) -> None:
        with self._database as database:
            database.executemany("DELETE FROM frames WHERE seq = ?", [(seq,) for seq in seqs])
            database.executemany("DELETE FROM queued WHERE seq = ?", [(seq,) for seq in seqs])

    async def renumber(self, stream: int) -> None:
        """Gives a stream's frames a new producer's numbers and a mark, in one transaction.

        Needed where Redis has forgotten the producer: the gap would never close otherwise.
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
        self._last_numbers[stream] = FrameNumber(producer, len(rows))

    def last_number(self, stream: int) -> FrameNumber | None:
        """Returns the highest number of a frame of the stream; None before the first."""
        return self._last_numbers.get(stream)

    def spooled_events(self, stream: int) -> int:
        """Counts a stream's events that are stored or being stored."""
        return self.events_by_stream.get(stream, 0)

    @property
    def total_events(self) -> int:
        """The number of events of all streams."""
        return sum(self.events_by_stream.values())

    async def close(self) -> None:
        """Finishes pending commits and closes the file."""
        while self._committer is not None:
            await self._committer
        await self._in_thread(self._checkpoint_thread.shutdown)
        await self._in_thread(self._database.close)
        self._thread.shutdown()
        self._on_closed()

    async def _in_thread(self, run: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, run)


def _decode_payload(raw: bytes) -> Payload:
    return msgspec.msgpack.decode(raw, type=Payload)
