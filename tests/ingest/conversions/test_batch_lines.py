"""NDJSON yields the same lines however it is cut, and bounds each line."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.conversions.batch import LINES_MAX, read_lines
from linkjolt.reasons import Reason, Rejected
from linkjolt.web import requests


async def split(pieces: Sequence[bytes]) -> list[bytes]:
    async def come() -> AsyncGenerator[bytes]:
        for piece in pieces:
            yield piece

    return [line async for lines in read_lines(come()) for line in lines]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=12), st.sampled_from([b"\n", b"\n\n", b" \n"]))
def test_lines_are_the_same_however_they_come_in(parts: list[bytes], gap: bytes) -> None:
    body = gap.join(parts)
    whole = [line for line in body.split(b"\n") if line.strip()]
    assert asyncio.run(split([body])) == whole
    assert asyncio.run(split([body[at : at + 1] for at in range(len(body))])) == whole


async def test_only_as_much_of_a_line_is_held_as_shows_that_it_is_too_long() -> None:
    [line] = await split([b"x" * 50_000] * 40)
    assert requests.BODY_MAX_BYTES < len(line) < 2 * requests.BODY_MAX_BYTES


async def test_the_last_line_counts_too() -> None:
    with pytest.raises(Rejected) as refused:
        await split([b"1\n" * LINES_MAX, b"1"])
    assert refused.value.reason is Reason.body_too_large
