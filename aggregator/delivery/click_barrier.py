"""Tells up to which millisecond every click published before a conversion is stored."""

from collections import deque
from collections.abc import Mapping

import msgspec


class BarrierMark(msgspec.Struct, frozen=True):
    """The ends of the click streams when conversions were closed up to `until_ms`."""

    until_ms: int
    tops: Mapping[int, int]


class ClickBarrier:
    """One aggregator's record of where the click streams ended at each closing of conversions."""

    def __init__(self) -> None:
        # Bounded: during a long catch-up only the newest marks matter.
        self._marks: deque[BarrierMark] = deque(maxlen=1_000)
        self._complete_until_ms = 0

    def add(self, until_ms: int, tops: Mapping[int, int]) -> None:
        """Records a closing; `tops`, read after it, are the click streams' last positions."""
        self._marks.append(BarrierMark(until_ms, tops))

    def clear(self) -> None:
        """Forgets all marks: they do not hold for streams that another aggregator closed."""
        self._marks.clear()
        self._complete_until_ms = 0

    def clicks_complete_until_ms(self, positions: Mapping[int, int]) -> int:
        """Returns the millisecond below which no click is missing, given the stored positions.

        Every click that is still unread was published after the conversions below it.
        """
        while self._marks and _is_passed(self._marks[0], positions):
            self._complete_until_ms = self._marks.popleft().until_ms
        return self._complete_until_ms


def _is_passed(mark: BarrierMark, positions: Mapping[int, int]) -> bool:
    return all(positions.get(number, 0) >= top for number, top in mark.tops.items())
