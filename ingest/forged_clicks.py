"""Bounds how many forged click ids a sender may try, and makes it known that somebody does.

A click id is guessed by trying: its MAC has 32 bits. Only ids of the right form count, as others
are mistakes. A genuine id is never refused, whatever its sender tried before.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from ingest import metrics
from ingest.conversions.attribution import PostedClick
from linkjolt.click_ids import canonical_click_id, decode_base32
from linkjolt.clicks.addresses import pack_address
from linkjolt.logs import MINUTE, MinuteLine
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey

# In a minute: of one address without a key, and of one key.
ADDRESS_MAX = 20
KEY_MAX = 10_000
_SENDERS_MAX = 10_000
# Of an IPv6 address: a household or a server may have all of a /64.
_NETWORK_BYTES = 8
Sender = bytes | int
_over_limit = MinuteLine(logging.WARNING, "forged click ids over the limit")


def is_forged(click: PostedClick) -> bool:
    """Returns whether a posted click id has the form of one, but is not genuine."""
    return click.click is None and is_well_formed(click.click_id)


def is_well_formed(text: str) -> bool:
    """Returns whether a text has the form of a click id."""
    return decode_base32(canonical_click_id(text)) is not None


class ForgedClicks:
    """Counts forged click ids by sender: an address's network, or a key's number."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # When the sender's minute ends, and how many it tried in it; the oldest are forgotten.
        self._tried: OrderedDict[Sender, tuple[float, int]] = OrderedDict()

    def check(self, clicks: Sequence[PostedClick], key: ApiKey) -> None:
        """Counts a post's forged ids; Rejected if none is genuine and its key tried too many."""
        forged = sum(map(is_forged, clicks))
        if not forged:
            return
        is_over = self.count(key.number, KEY_MAX, forged)
        if is_over and all(click.click is None for click in clicks):
            _over_limit.count(key.id)
            message = "is not genuine, and over 10,000 of this key were not within a minute"
            raise Rejected(Reason.too_many_forged, message, field="click_id")

    def is_over(self, address: str) -> bool:
        """Returns whether an address has tried too many without a key."""
        ends_at, tried = self._tried.get(_network(address), (0.0, 0))
        return tried >= ADDRESS_MAX and self._clock() < ends_at

    def count_unsigned(self, address: str) -> None:
        """Counts a forged id that an address sent without a key."""
        if self.count(_network(address), ADDRESS_MAX):
            _over_limit.count("without a key")

    def count(self, sender: Sender, most: int, forged: int = 1) -> bool:
        """Counts forged ids of a sender; returns whether they are more than `most` in a minute."""
        metrics.FORGED_CLICK_IDS.inc(forged)
        now = self._clock()
        ends_at, tried = self._tried.pop(sender, (0.0, 0))
        if now >= ends_at:
            ends_at, tried = now + MINUTE, 0
        if len(self._tried) >= _SENDERS_MAX:
            self._tried.popitem(last=False)
        self._tried[sender] = ends_at, tried + forged
        return tried + forged > most


def _network(address: str) -> bytes:
    packed = pack_address(address) or b""
    return packed if len(packed) <= _NETWORK_BYTES else packed[:_NETWORK_BYTES]
