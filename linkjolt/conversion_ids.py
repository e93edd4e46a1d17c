"""What a conversion id is: `conv_` and 26 characters that sort by time and name their shard.

48 bits of milliseconds, 16 of shard, 64 random, in the base32 of click ids.
"""

import os
from functools import lru_cache

from linkjolt.click_ids import ALPHABET, decode_base32, encode_base32

PREFIX = "conv_"
# Half of the characters. The first one behind them holds the shard's last bit and four random
# ones, all others are random.
_BEGIN_LENGTH = 13
_RANDOM_LENGTH = 13
_BORDER = [{c: ALPHABET[bit << 4 | at & 15] for at, c in enumerate(ALPHABET)} for bit in (0, 1)]
# Every value of a byte as a character, each character as often.
_CHARACTERS = bytes(ord(ALPHABET[byte & 31]) for byte in range(256))
# As much randomness as is drawn at once: asking the kernel each time costs as much as the rest.
_DRAWN_LENGTH = 512 * _RANDOM_LENGTH


class _Chance:
    """Random characters from the kernel, each given out once."""

    def __init__(self) -> None:
        self._drawn = ""
        self._at = 0

    def draw(self) -> str:
        if self._at == len(self._drawn):
            self._drawn, self._at = os.urandom(_DRAWN_LENGTH).translate(_CHARACTERS).decode(), 0
        begin, self._at = self._at, self._at + _RANDOM_LENGTH
        return self._drawn[begin : self._at]


_chance = _Chance()
# A forked process would give out the same characters as its parent.
os.register_at_fork(after_in_child=_chance.__init__)


def make_conversion_id(shard: int, now_ms: int) -> str:
    random = _chance.draw()
    return f"{_begin(shard, now_ms)}{_BORDER[shard & 1][random[0]]}{random[1:]}"


@lru_cache(maxsize=64)
def _begin(shard: int, now_ms: int) -> str:
    return PREFIX + encode_base32(now_ms << 80 | shard << 64)[:_BEGIN_LENGTH]


def shard_of(conversion_id: str) -> int | None:
    """The shard that holds the conversion; None where the text is no conversion id."""
    if not conversion_id.startswith(PREFIX):
        return None
    number = decode_base32(conversion_id[len(PREFIX) :])
    return None if number is None else number >> 64 & 0xFFFF
