"""Tells up to which millisecond every click published before a conversion is stored."""

from collections import deque
from collections.abc import Mapping

import msgspec

# How long a conversion waits for a missing click, counted from when Redis accepted it. The first
# is longer than an edge takes to report that it has spooled events (one second).
PUBLISHED_GRACE_MS = 2_000
SPOOLED_GRACE_MS = 30_000


class BarrierMark(msgspec.Struct, frozen=True):
    """The ends of the click streams when conversions were closed up to `until_ms`.

    `spooled`: an edge had events on disk then, which will be published behind these ends.
    """

    until_ms: int
    tops: Mapping[int, int]
    spooled: bool


class ClickBarrier:
    """One aggregator's record of where the click streams ended at each closing of conversions."""

    def __init__(self) -> None:
        # Bounded: during a long catch-up only the newest marks matter.
        self._marks: deque[BarrierMark] = deque(maxlen=1_000)
        self._complete_until_ms = 0
        self._passed_until_ms = 0

    def add(self, until_ms: int, tops: Mapping[int, int], now_ms: int, *, spooled: bool) -> None:
        """Records a closing.

        `tops` are the click streams' last positions, read after the closing and after whether
        edges reported spooled events.
        """
        if spooled:
            # What is reported now may have been spooled before the recent marks.
            recent_ms = now_ms - PUBLISHED_GRACE_MS
            for i, mark in enumerate(self._marks):
                if mark.until_ms > recent_ms:
                    self._marks[i] = BarrierMark(mark.until_ms, mark.tops, spooled=True)
        self._marks.append(BarrierMark(until_ms, tops, spooled))

    def clear(self) -> None:
        """Forgets all marks: they do not hold for streams that another aggregator closed."""
        self._marks.clear()
        self._complete_until_ms = self._passed_until_ms = 0

    def clicks_complete_until_ms(self, positions: Mapping[int, int], now_ms: int) -> int:
        """Returns the millisecond below which no click is missing, given the stored positions.

        Every click that is still unread was published after the conversions below it, and none
        that an edge had spooled may precede them, unless it is spooled for longer than the grace.
        """
        settled_ms = now_ms - PUBLISHED_GRACE_MS
        while self._marks and self._marks[0].until_ms <= settled_ms:
            mark = self._marks[0]
            if not _is_passed(mark, positions):
                break
            self._marks.popleft()
            self._passed_until_ms = mark.until_ms
            if not mark.spooled:
                self._complete_until_ms = mark.until_ms
        overdue_ms = min(self._passed_until_ms, now_ms - SPOOLED_GRACE_MS)
        return max(self._complete_until_ms, overdue_ms)


def _is_passed(mark: BarrierMark, positions: Mapping[int, int]) -> bool:
    return all(positions.get(number, 0) >= top for number, top in mark.tops.items())
