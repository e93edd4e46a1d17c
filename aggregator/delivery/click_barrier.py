"""How far conversions may be stored: below, every click that came before them is read."""

from collections import deque
from collections.abc import Mapping

import msgspec


class Note(msgspec.Struct, frozen=True):
    """Where the click streams stood when conversions were closed up to `until_ms`."""

    until_ms: int
    tops: Mapping[int, int]


class Notes:
    """One aggregator's notes on the conversion streams that it closes."""

    def __init__(self) -> None:
        # Bounded: during a long catch-up the newest notes are the ones that matter.
        self._notes: deque[Note] = deque(maxlen=1_000)
        self._sure_ms = 0

    def add(self, until_ms: int, tops: Mapping[int, int]) -> None:
        """`tops` is read after the closing: by number, the last entry of every click stream."""
        self._notes.append(Note(until_ms, tops))

    def clear(self) -> None:
        """What was noted does not hold for a conversion stream that was not closed here."""
        self._notes.clear()
        self._sure_ms = 0

    def sure_until_ms(self, positions: Mapping[int, int]) -> int:
        """The milliseconds below which no click is missing, the click streams being stored so far.

        A conversion below it came after every click that is still to be read.
        """
        while self._notes and _passed(self._notes[0], positions):
            self._sure_ms = self._notes.popleft().until_ms
        return self._sure_ms


def _passed(note: Note, positions: Mapping[int, int]) -> bool:
    return all(positions.get(number, 0) >= top for number, top in note.tops.items())
