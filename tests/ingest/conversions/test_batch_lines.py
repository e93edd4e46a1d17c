"""NDJSON yields the same lines however it is cut, and bounds each line."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.conversions.batch import LINES_MAX
from linkjolt.conversions.json_lines import read_lines
from linkjolt.reasons import Reason, Rejected
from linkjolt.web import requests

_LINES = st.binary(max_size=6) | st.just(requests.BYTE_ORDER_MARK)


async def arriving(pieces: Sequence[bytes]) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


async def split(pieces: Sequence[bytes]) -> list[bytes]:
    return [line async for lines in read_lines(arriving(pieces), LINES_MAX) for line in lines]


@settings(deadline=None)
@given(st.lists(_LINES, max_size=12), st.sampled_from([b"\n", b"\n\n", b" \n"]))
def test_lines_are_the_same_however_they_come_in(parts: list[bytes], gap: bytes) -> None:
    body = gap.join(parts)
    begun = body.removeprefix(requests.BYTE_ORDER_MARK)
    whole = [line for line in begun.split(b"\n") if line.strip()]
    assert asyncio.run(split([body])) == whole
    assert asyncio.run(split([body[at : at + 1] for at in range(len(body))])) == whole


async def test_only_as_much_of_a_line_is_held_as_shows_that_it_is_too_long() -> None:
    [line] = await split([b"x" * 50_000] * 40)
    assert requests.BODY_MAX_BYTES < len(line) < 2 * requests.BODY_MAX_BYTES


@pytest.mark.parametrize(
    "pieces",
    [
        [b"1\n" * (LINES_MAX + 1)],
        [b"1\n" * LINES_MAX, b"1"],
        [b"1\n" * (LINES_MAX - 1), b"1\n2\n3\n"],
    ],
)
async def test_as_many_lines_as_may_be_are_yielded_before_the_refusal(pieces: list[bytes]) -> None:
    found: list[bytes] = []
    with pytest.raises(Rejected) as refused:
        async for lines in read_lines(arriving(pieces), LINES_MAX):
            found += lines
    assert refused.value.reason is Reason.body_too_large
    assert found == [b"1"] * LINES_MAX
