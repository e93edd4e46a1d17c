"""Makes conversion ids: `conv_` and 26 characters that sort by time and name their shard.

48 bits of milliseconds, 16 of shard, 64 random, in the base32 of click ids.
"""

import os
from functools import lru_cache

from linkjolt.click_ids import ALPHABET, decode_base32, encode_base32

PREFIX = "conv_"
# Half of the characters. The first one of the other half holds the shard's last bit and four
# random bits; all after it are random.
_TIME_LENGTH = 13
_RANDOM_LENGTH = 13
_BORDER_CHARACTERS = [
    {c: ALPHABET[bit << 4 | at & 15] for at, c in enumerate(ALPHABET)} for bit in (0, 1)
]
# Maps every value of a byte to a character, each character equally often.
_CHARACTER_OF_BYTE = bytes(ord(ALPHABET[byte & 31]) for byte in range(256))
# Read from the kernel at once: a call for every id would cost as much as all the rest.
_BUFFER_LENGTH = 512 * _RANDOM_LENGTH


class _RandomCharacters:
    """Random characters from the kernel, each handed out once."""

    def __init__(self) -> None:
        self._buffer = ""
        self._offset = 0

    def draw(self) -> str:
        if self._offset == len(self._buffer):
            self._buffer, self._offset = (
                os.urandom(_BUFFER_LENGTH).translate(_CHARACTER_OF_BYTE).decode(),
                0,
            )
        begin, self._offset = self._offset, self._offset + _RANDOM_LENGTH
        return self._buffer[begin : self._offset]


_random_characters = _RandomCharacters()
# Otherwise a forked process would hand out the same characters as its parent.
os.register_at_fork(after_in_child=_random_characters.__init__)


def make_conversion_id(shard: int, now_ms: int) -> str:
    random = _random_characters.draw()
    return f"{_time_and_shard(shard, now_ms)}{_BORDER_CHARACTERS[shard & 1][random[0]]}{random[1:]}"


@lru_cache(maxsize=64)
def _time_and_shard(shard: int, now_ms: int) -> str:
    return PREFIX + encode_base32(now_ms << 80 | shard << 64)[:_TIME_LENGTH]


def shard_of(conversion_id: str) -> int | None:
    """Returns the shard that holds the conversion; None if the text is not a conversion id."""
    if not conversion_id.startswith(PREFIX):
        return None
    number = decode_base32(conversion_id[len(PREFIX) :])
    return None if number is None else number >> 64 & 0xFFFF
