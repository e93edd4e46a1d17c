"""Reads NDJSON while it arrives."""

from collections.abc import AsyncGenerator, AsyncIterator

from linkjolt.reasons import Reason, Rejected
from linkjolt.web import requests


async def read_lines(chunks: AsyncIterator[bytes], lines_max: int) -> AsyncGenerator[list[bytes]]:
    """Yields lines as they arrive, without blank ones; cuts a line that exceeds a post's bound.

    Rejected after `lines_max` lines, however they arrive.
    """
    left, rest, begun = lines_max, b"", False
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if whole and not begun:
            begun, whole[0] = True, whole[0].removeprefix(requests.BYTE_ORDER_MARK)
        lines = [line for line in whole if line and not line.isspace()]
        yield lines[:left]
        left = _check_lines_left(left - len(lines), lines_max)
        # Only as much as shows that it is too long.
        rest = rest[: requests.BODY_MAX_BYTES + 1]
    last = rest if begun else rest.removeprefix(requests.BYTE_ORDER_MARK)
    if last and not last.isspace():
        _check_lines_left(left - 1, lines_max)
        yield [last]


def _check_lines_left(left: int, lines_max: int) -> int:
    if left < 0:
        message = f"the body has over {lines_max} lines: those beyond were not read"
        raise Rejected(Reason.body_too_large, message)
    return left
