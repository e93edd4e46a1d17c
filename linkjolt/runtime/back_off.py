"""Spaces retries: each delay is twice the one before, up to a bound, until a success."""


class BackOff:
    """An endless iterator of delays in seconds: `first`, then doubled up to `longest`."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def __iter__(self) -> "BackOff":
        return self

    def __next__(self) -> float:
        seconds = self._next
        self._next = min(seconds * 2, self._longest)
        return seconds

    def reset(self) -> None:
        """Begins anew at the first delay, after a success."""
        self._next = self._first
