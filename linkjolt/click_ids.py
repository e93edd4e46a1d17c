"""Makes and verifies click ids: 128 bits that sort by time, name their link and have a MAC.

42 bits of milliseconds, 30 of link number, 12 of edge worker, 12 of sequence, 32 of keyed MAC
(BLAKE2s, RFC 7693), written as 26 characters of Crockford's base32, in upper case. They are read
in either letter case, I and L as 1, O as 0 (https://www.crockford.com/base32.html).
"""

import struct
import time
from collections.abc import Callable, Sequence
from hashlib import blake2s

import msgspec

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CLICK_ID_LENGTH = 26
WORKER_COUNT = 1 << 12
LINK_NUMBER_MAX = (1 << 30) - 1
_SEQUENCE_COUNT = 1 << 12
_MASK_45 = (1 << 45) - 1
_NS_PER_MS = 1_000_000  # Nanoseconds.
_pack = struct.Struct(">IQ").pack
_int_from_bytes = int.from_bytes
_MIDDLES_CACHED = 100_000
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_READ_AS = str.maketrans("ILO", "110")
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
_TRIPLES = [pair + low for pair in _PAIRS for low in ALPHABET]


class ClickRef(msgspec.Struct, frozen=True):
    """The contents of a genuine click id."""

    time_ms: int
    link: int


def encode_base32(number: int) -> str:
    """Writes an unsigned number below 2**128 as 26 characters."""
    # Three characters a look-up, on numbers of half the size.
    high, low = number >> 60, number & 0xFFF_FFFF_FFFF_FFFF
    triples = _TRIPLES
    return (
        f"{triples[high >> 55]}{triples[high >> 40 & 32767]}{triples[high >> 25 & 32767]}"
        f"{triples[high >> 10 & 32767]}{_PAIRS[high & 1023]}"
        f"{triples[low >> 45]}{triples[low >> 30 & 32767]}{triples[low >> 15 & 32767]}"
        f"{triples[low & 32767]}"
    )


def _encode_45_bits(bits: int) -> str:
    """Writes 45 bits as 9 characters."""
    return f"{_TRIPLES[bits >> 30]}{_TRIPLES[bits >> 15 & 32767]}{_TRIPLES[bits & 32767]}"


def decode_base32(text: str) -> int | None:
    """Reads 26 characters of the alphabet as a number below 2**128; None for any other text."""
    if len(text) != CLICK_ID_LENGTH:
        return None
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            return None
        number = number << 5 | value
    return number if number < 1 << 128 else None


def canonical_click_id(text: str) -> str:
    """Returns the spelling of an id in which it is stored; any other text unchanged."""
    if len(text) != CLICK_ID_LENGTH or not text.isascii():
        return text
    spelling = text.upper().translate(_READ_AS)
    return text if decode_base32(spelling) is None else spelling


def _mac(body: bytes, key: bytes) -> bytes:
    return blake2s(body, digest_size=4, key=key).digest()


class ClickIdGenerator:
    """Makes click ids for one edge worker: unique and rising, whatever the clock does."""

    def __init__(self, worker: int, key: bytes, clock_ns: Callable[[], int] = time.time_ns) -> None:
        if not 0 <= worker < WORKER_COUNT:
            raise ValueError(f"worker {worker} is not in 0..{WORKER_COUNT - 1}")
        self._worker = worker
        # Hashes the key's block once instead of for every id.
        self._keyed_hash = blake2s(digest_size=4, key=key)
        self._clock_ns = clock_ns
        self._middle_cache: dict[int, str] = {}  # Characters 9 to 17, by the bits they encode.
        self._start_millisecond(0)

    def sign_by(self, key: bytes) -> None:
        """Signs further ids by this key."""
        self._keyed_hash = blake2s(digest_size=4, key=key)

    def make(self, link: int) -> str:
        """Makes an id for a click on the link with this number (below 2**30)."""
        now_ns = self._clock_ns()
        if now_ns >= self._millisecond_end_ns:
            self._start_millisecond(now_ns // _NS_PER_MS)
        else:
            self._sequence += 1
            if self._sequence == _SEQUENCE_COUNT:
                # The millisecond is used up, or the clock stepped back: borrow the next one.
                self._start_millisecond(self._millisecond_end_ns // _NS_PER_MS)
        sequence = self._sequence
        mac = self._keyed_hash.copy()
        mac.update(_pack(self._time_high, self._time_low_and_worker | link << 24 | sequence))
        # Like `encode_base32`, for 45, 45 and 40 bits: only the last change with every click.
        bits = link << 4 | sequence >> 8
        middle = self._middle_cache.get(bits) or self._write_middle(bits)
        # Pairs: their table fits the processor's cache; look-ups of random triples would miss it.
        low = (sequence & 255) << 32 | _int_from_bytes(mac.digest(), "big")
        return (
            f"{self._prefixes[link >> 29]}{middle}"
            f"{_PAIRS[low >> 30]}{_PAIRS[low >> 20 & 1023]}"
            f"{_PAIRS[low >> 10 & 1023]}{_PAIRS[low & 1023]}"
        )

    def _write_middle(self, bits: int) -> str:
        if len(self._middle_cache) >= _MIDDLES_CACHED:
            self._middle_cache.clear()
        middle = _encode_45_bits((bits >> 4 << 16 | self._worker << 4 | bits & 15) & _MASK_45)
        self._middle_cache[bits] = middle
        return middle

    def _start_millisecond(self, time_ms: int) -> None:
        self._millisecond_end_ns, self._sequence = (time_ms + 1) * _NS_PER_MS, 0
        # Time and worker, shifted to their places in the first 32 bits and in the next 64.
        self._time_high, self._time_low_and_worker = (
            time_ms >> 10,
            (time_ms & 1023) << 54 | self._worker << 12,
        )
        # Characters 0 to 8, by the link's highest bit.
        self._prefixes = (_encode_45_bits(time_ms << 1), _encode_45_bits(time_ms << 1 | 1))


def verify_click_id(text: str, keys: Sequence[bytes]) -> ClickRef | None:
    """Returns the time and link of an id that is genuine under any of the keys, else None."""
    number = decode_base32(text)
    if number is None:
        number = decode_base32(canonical_click_id(text))
    if number is None:
        return None
    raw = number.to_bytes(16, "big")
    if not any(_mac(raw[:12], key) == raw[12:] for key in keys):
        return None
    return unpack_click_number(number)


def unpack_click_number(number: int) -> ClickRef:
    """Unpacks time and link from the number of an id whose MAC was verified before."""
    return ClickRef(time_ms=number >> 86, link=number >> 56 & LINK_NUMBER_MAX)
