"""What a conversion id is: `conv_` and 26 characters that sort by time and name their shard.

48 bits of milliseconds, 16 of shard, 64 random, in the base32 of click ids.
"""

import secrets

from linkjolt.clickid import decode_base32, encode_base32

PREFIX = "conv_"


def make_conversion_id(shard: int, now_ms: int) -> str:
    number = now_ms << 80 | shard << 64 | secrets.randbits(64)
    return PREFIX + encode_base32(number)


def shard_of(conversion_id: str) -> int | None:
    """The shard that holds the conversion; None where the text is no conversion id."""
    if not conversion_id.startswith(PREFIX):
        return None
    number = decode_base32(conversion_id[len(PREFIX) :])
    return None if number is None else number >> 64 & 0xFFFF
