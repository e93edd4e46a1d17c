"""Conversion ids name their shard, sort by time and never repeat."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from linkjolt.click_ids import decode_base32
from linkjolt.conversion_ids import PREFIX, make_conversion_id, shard_of

SHARDS = st.integers(0, (1 << 16) - 1)
TIMES = st.integers(0, (1 << 48) - 1)


@settings(deadline=None)
@given(SHARDS, TIMES)
def test_an_id_holds_its_shard_and_time(shard: int, now_ms: int) -> None:
    made = make_conversion_id(shard, now_ms)
    number = decode_base32(made.removeprefix(PREFIX))
    assert number is not None
    assert shard_of(made) == shard
    assert number >> 80 == now_ms


def test_ids_of_one_millisecond_differ_in_all_their_random_bits() -> None:
    made = [make_conversion_id(0, 1_767_312_000_000) for _ in range(5_000)]
    assert len(set(made)) == len(made)
    numbers = [decode_base32(one.removeprefix(PREFIX)) or 0 for one in made]
    for bit in range(64):
        ones = sum(number >> bit & 1 for number in numbers)
        # Fair coins leave this range once in 10**20 runs.
        assert 2_150 < ones < 2_850


def test_later_ids_sort_behind_earlier_ones() -> None:
    made = [make_conversion_id(3, 1_767_312_000_000 + number) for number in range(100)]
    assert made == sorted(made)


def test_a_forked_process_makes_ids_of_its_own() -> None:
    make_conversion_id(0, 1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, make_conversion_id(0, 1).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 64).decode() != make_conversion_id(0, 1)
