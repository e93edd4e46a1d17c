"""What a click id is: 128 bits that sort by time, name their link and cannot be forged.

42 bits of milliseconds, 30 of link number, 12 of edge worker, 12 of sequence, 32 of keyed MAC
(BLAKE2s, RFC 7693), written as 26 characters of Crockford's base32, upper case only.
"""

import struct
import time
from collections.abc import Callable, Sequence
from hashlib import blake2s

import msgspec

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
WORKERS = 1 << 12
LINK_MAX = (1 << 30) - 1
_SEQUENCES = 1 << 12
_MASK_45 = (1 << 45) - 1
_MS = 1_000_000  # Nanoseconds.
_pack = struct.Struct(">IQ").pack
_read_big = int.from_bytes
_MIDDLES_KEPT = 100_000
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
_TRIPLES = [pair + low for pair in _PAIRS for low in ALPHABET]


class ClickRef(msgspec.Struct, frozen=True):
    """What a genuine click id says by itself."""

    time_ms: int
    link: int


def encode_base32(number: int) -> str:
    """26 characters for an unsigned number below 2**128."""
    # Three characters a look-up, and numbers of half the size.
    high, low = number >> 60, number & 0xFFF_FFFF_FFFF_FFFF
    three = _TRIPLES
    return (
        f"{three[high >> 55]}{three[high >> 40 & 32767]}{three[high >> 25 & 32767]}"
        f"{three[high >> 10 & 32767]}{_PAIRS[high & 1023]}"
        f"{three[low >> 45]}{three[low >> 30 & 32767]}{three[low >> 15 & 32767]}"
        f"{three[low & 32767]}"
    )


def _nine(bits: int) -> str:
    """9 of those characters, for 45 bits."""
    return f"{_TRIPLES[bits >> 30]}{_TRIPLES[bits >> 15 & 32767]}{_TRIPLES[bits & 32767]}"


def decode_base32(text: str) -> int | None:
    """The number, or None where the text is not 26 characters of the alphabet below 2**128."""
    if len(text) != LENGTH:
        return None
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            return None
        number = number << 5 | value
    return number if number < 1 << 128 else None


def _mac(body: bytes, key: bytes) -> bytes:
    return blake2s(body, digest_size=4, key=key).digest()


class ClickIds:
    """Makes click ids for one edge worker: unique and rising, whatever the clock does."""

    def __init__(self, worker: int, key: bytes, clock_ns: Callable[[], int] = time.time_ns) -> None:
        if not 0 <= worker < WORKERS:
            raise ValueError(f"worker {worker} is not in 0..{WORKERS - 1}")
        self._worker = worker
        # The key's block is hashed once, not for every id.
        self._keyed = blake2s(digest_size=4, key=key)
        self._clock_ns = clock_ns
        self._middles: dict[int, str] = {}  # Characters 9 to 17, by the bits that they write.
        self._begin(0)

    def make(self, link: int) -> str:
        """A new id for a click on the link of this number (below 2**30)."""
        now_ns = self._clock_ns()
        if now_ns >= self._until_ns:
            self._begin(now_ns // _MS)
        else:
            self._sequence += 1
            if self._sequence == _SEQUENCES:
                # The millisecond is used up (or the clock stepped back): borrow the next one.
                self._begin(self._until_ns // _MS)
        sequence = self._sequence
        mac = self._keyed.copy()
        mac.update(_pack(self._first, self._rest | link << 24 | sequence))
        # `encode_base32` of 45, 45 and 40 bits, of which only the last change with every click.
        bits = link << 4 | sequence >> 8
        middle = self._middles.get(bits) or self._write_middle(bits)
        # Pairs, for all of them stay in the processor's cache, of which triples by chance miss.
        low = (sequence & 255) << 32 | _read_big(mac.digest(), "big")
        return (
            f"{self._begins[link >> 29]}{middle}"
            f"{_PAIRS[low >> 30]}{_PAIRS[low >> 20 & 1023]}"
            f"{_PAIRS[low >> 10 & 1023]}{_PAIRS[low & 1023]}"
        )

    def _write_middle(self, bits: int) -> str:
        if len(self._middles) >= _MIDDLES_KEPT:
            self._middles.clear()
        middle = _nine((bits >> 4 << 16 | self._worker << 4 | bits & 15) & _MASK_45)
        self._middles[bits] = middle
        return middle

    def _begin(self, time_ms: int) -> None:
        self._until_ns, self._sequence = (time_ms + 1) * _MS, 0
        # Time and worker where they stand in the first 32 bits and the next 64.
        self._first, self._rest = time_ms >> 10, (time_ms & 1023) << 54 | self._worker << 12
        # Characters 0 to 8, by the highest bit of the link.
        self._begins = (_nine(time_ms << 1), _nine(time_ms << 1 | 1))


def read_click_id(text: str, keys: Sequence[bytes]) -> ClickRef | None:
    """The time and link of a genuine id under any of the keys; None for anything else."""
    number = decode_base32(text)
    if number is None:
        return None
    raw = number.to_bytes(16, "big")
    if not any(_mac(raw[:12], key) == raw[12:] for key in keys):
        return None
    return unverified(number)


def unverified(number: int) -> ClickRef:
    """The time and link of an id whose MAC was checked before, by its number."""
    return ClickRef(time_ms=number >> 86, link=number >> 56 & LINK_MAX)
