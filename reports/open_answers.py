"""Bounds the long answers that a key has open at once."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey


class OpenAnswers:
    """Counts the open answers of a kind, such as `live feeds`, of which a key may have so many."""

    def __init__(self, kind: str, per_key_max: int) -> None:
        self._kind = kind
        self._per_key_max = per_key_max
        self._open = Counter[int]()

    @property
    def total(self) -> int:
        """Counts those of all keys."""
        return self._open.total()

    @contextmanager
    def opened(self, key: ApiKey) -> Generator[None]:
        """Counts one more answer while it is open; Rejected beyond the bound."""
        if self._open[key.holder] >= self._per_key_max:
            message = f"the API key has {self._per_key_max} {self._kind} open already"
            raise Rejected(Reason.too_many_requests, message)
        self._open[key.holder] += 1
        try:
            yield
        finally:
            self._open[key.holder] -= 1
            self._open = +self._open
