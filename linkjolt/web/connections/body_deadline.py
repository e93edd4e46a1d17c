"""Judges how long the sender of a request's body may take; pure but for the clock passed in."""

# A sender with credentials proves that it is there; anybody can be one without.
_WHOLE_SECONDS = 15.0
_BETWEEN_READS_SECONDS = 10.0
_RATE_BYTES_PER_SECOND = 4 << 10
_RATE_AFTER_SECONDS = 20.0


class BodyDeadline:
    """One body under way; time in which the server itself does not read is not counted."""

    def __init__(self, now: float) -> None:
        self._began_at = now
        self._read_at = now
        self._judged_at = now
        self._size_bytes = 0

    def read(self, size_bytes: int, now: float) -> None:
        """Counts bytes that have arrived."""
        self._size_bytes += size_bytes
        self._read_at = now

    def refusal(self, now: float, *, verified: bool, reading: bool) -> str:
        """Returns what the sender exceeds, '' while it is in time."""
        if not reading:
            self._began_at += now - self._judged_at
            self._read_at = now
        self._judged_at = now
        seconds = now - self._began_at
        if not verified:
            if seconds >= _WHOLE_SECONDS:
                return f"the body took over {_WHOLE_SECONDS:.0f} s"
        elif now - self._read_at >= _BETWEEN_READS_SECONDS:
            return f"nothing of the body arrived for {_BETWEEN_READS_SECONDS:.0f} s"
        elif seconds >= _RATE_AFTER_SECONDS and self._size_bytes < seconds * _RATE_BYTES_PER_SECOND:
            return f"the body arrives at less than {_RATE_BYTES_PER_SECOND >> 10} KB/s"
        return ""
