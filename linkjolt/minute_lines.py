"""Logs what strangers can cause: one line a minute, however often it happens."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import structlog

MINUTE = 60.0
_LABELS_MAX = 32
_log = structlog.get_logger()


class MinuteLine:
    """Logs the first occurrence at once, and those of each minute after it as one line.

    The line has their number, and their numbers by label where they have labels: of a closed list,
    never what somebody sent. The traceback is that of the first with an error.
    """

    def __init__(self, level: int, event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._level = level
        self._event = event
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._error: BaseException | None = None
        self._due = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def count(self, label: str = "", *, error: BaseException | None = None) -> None:
        """Counts one occurrence, and logs if no line was written within the last minute."""
        known = label in self._counts or len(self._counts) < _LABELS_MAX
        self._counts[label if known else "other"] += 1
        self._error = self._error or error
        now = self._clock()
        if now >= self._due:
            self._write(now)
        elif self._timer is None:
            # Nothing else may happen that would write the last ones.
            with suppress(RuntimeError):
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._due - now, self._write_rest)

    def _write_rest(self) -> None:
        self._timer = None
        if self._counts:
            self._write(self._clock())

    def _write(self, now: float) -> None:
        counts, error = self._counts, self._error
        self._counts, self._error, self._due = Counter(), None, now + MINUTE
        fields: dict[str, object] = {"count": counts.total()}
        if any(counts):
            fields["by"] = dict(sorted(counts.items()))
        if error is not None:
            fields["exc_info"] = error
        _log.log(self._level, self._event, **fields)
