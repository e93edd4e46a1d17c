"""Judges the structure of JSON before it is decoded: its depth, and its number of entries.

A body of many megabytes is judged in slices, for decoding makes an object of every entry, and
nothing else runs meanwhile. Texts are cut out and brackets counted by functions in C: a pattern
that finds every bracket takes ten times as long.
"""

from collections.abc import Iterator
from itertools import accumulate

import msgspec

from linkjolt.reasons import Reason, Rejected
from linkjolt.runtime.loop_slices import LoopSlices

NESTING_MAX = 32
_SLICE_BYTES = 32 << 10
# As signed bytes: how much deeper each character leads.
_DEEPER = bytes.maketrans(b"[{]},", b"\x01\x01\xff\xff\x00")
_ALL_BYTES = bytes(range(256))
_NO_BRACKETS = _ALL_BYTES.translate(None, b"[]{}")
_NO_BRACKETS_OR_COMMAS = _ALL_BYTES.translate(None, b"[]{},")

_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def check_depth(body: bytes) -> None:
    """Rejected where JSON nests deeper than 32 levels (msgspec raises RecursionError later)."""
    if body.count(b"[") + body.count(b"{") <= NESTING_MAX:
        return
    for _ in _count_commas(body, 0):
        pass


async def check_structure(body: bytes, level: int, entries_max: int) -> bool:
    """Checks depth in slices; returns False if over `entries_max` entries are at a level.

    Level 1 is inside of the outermost array or object. Rejected as by `check_depth`.
    """
    slices = LoopSlices()
    commas = 0
    for found in _count_commas(body, level):
        commas += found
        if commas >= entries_max:
            return False
        await slices.next_if_over()
    return True


async def split_array(body: bytes, entries_max: int) -> list[bytes]:
    """Splits a JSON array into its undecoded entries; Rejected for anything else."""
    if not await check_structure(body, 1, entries_max):
        raise too_many_entries(entries_max)
    try:
        entries = _decode_array(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Reason.malformed_json, f"the body is not JSON: {error}") from None
    return [bytes(entry) for entry in entries]


def too_many_entries(entries_max: int) -> Rejected:
    """Builds the refusal of a body with too many entries."""
    return Rejected(Reason.invalid_field, f"has over {entries_max} entries", field="body")


def _count_commas(body: bytes, level: int) -> Iterator[int]:
    """Yields the commas at a level (0: none are counted) of each slice; Rejected if too deep.

    What follows the first error of invalid JSON may be counted wrong: no decoder reads on there.
    """
    at, depth, in_text = 0, 0, 0
    others = _NO_BRACKETS_OR_COMMAS if level else _NO_BRACKETS
    while at < len(body):
        part = body[at : at + _SLICE_BYTES]
        if (len(part) - len(part.rstrip(b"\\"))) % 2:
            # An escape is not cut in two.
            part = body[at : at + _SLICE_BYTES + 1]
        at += len(part)
        if b"\\" in part:
            part = part.replace(b"\\\\", b"").replace(b'\\"', b"")
        texts = part.split(b'"')
        steps = b"".join(texts[in_text::2]).translate(_DEEPER, others)
        in_text ^= (len(texts) - 1) % 2
        if not steps:
            yield 0
            continue
        depths = list(accumulate(memoryview(steps).cast("b"), initial=depth))
        depth = depths[-1]
        if max(depths) > NESTING_MAX:
            raise Rejected(Reason.too_deep, f"the body nests deeper than {NESTING_MAX} levels")
        if level and 0 in steps and level in depths:
            found = zip(steps, depths, strict=False)
            yield sum([1 for step, before in found if not step and before == level])
        else:
            yield 0
