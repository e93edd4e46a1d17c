"""What a conversion id is: `conv_` and 26 characters that sort by time and name their shard.

48 bits of milliseconds, 16 of shard, 64 random, in the base32 of click ids.
"""

import os
from array import array
from functools import lru_cache

from linkjolt.clickid import decode_base32, encode_base32

PREFIX = "conv_"
# As much randomness as is drawn at once: asking the kernel each time costs as much as the rest.
_DRAWN_BYTES = 4_096
# Half of the id: the other half holds the shard's last bit and what is random.
_BEGIN_LENGTH = 13


class _Chance:
    """Random numbers of 64 bits from the kernel, each given out once."""

    def __init__(self) -> None:
        self._drawn: list[int] = []

    def draw(self) -> int:
        if not self._drawn:
            self._drawn = array("Q", os.urandom(_DRAWN_BYTES)).tolist()
        return self._drawn.pop()


_chance = _Chance()
# A forked process would give out the same numbers as its parent.
os.register_at_fork(after_in_child=_chance.__init__)


def make_conversion_id(shard: int, now_ms: int) -> str:
    return _begin(shard, now_ms) + encode_base32((shard & 1) << 64 | _chance.draw())[_BEGIN_LENGTH:]


@lru_cache(maxsize=64)
def _begin(shard: int, now_ms: int) -> str:
    return PREFIX + encode_base32(now_ms << 80 | shard << 64)[:_BEGIN_LENGTH]


def shard_of(conversion_id: str) -> int | None:
    """The shard that holds the conversion; None where the text is no conversion id."""
    if not conversion_id.startswith(PREFIX):
        return None
    number = decode_base32(conversion_id[len(PREFIX) :])
    return None if number is None else number >> 64 & 0xFFFF
