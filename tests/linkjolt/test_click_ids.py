"""Click ids are read back whole, sort by time, never repeat and cannot be forged."""

from hypothesis import given
from hypothesis import strategies as st

from linkjolt.click_ids import (
    ALPHABET,
    LINK_NUMBER_MAX,
    WORKER_COUNT,
    ClickIdGenerator,
    canonical_click_id,
    decode_base32,
    encode_base32,
    verify_click_id,
)

MS = 1_000_000
KEYS = (b"k" * 32, b"old" * 10)
# The last second of 2**42 milliseconds (the year 2109) is left to the borrowed ones.
TIMES = st.integers(1, (1 << 42) - 1_000)
LINKS = st.integers(0, LINK_NUMBER_MAX)


@given(TIMES, LINKS, st.integers(0, WORKER_COUNT - 1))
def test_time_and_link_are_read_back(time_ms: int, link: int, worker: int) -> None:
    made = ClickIdGenerator(worker, KEYS[0], lambda: time_ms * MS).make(link)
    ref = verify_click_id(made, KEYS)
    assert ref is not None
    assert (ref.time_ms, ref.link, len(made)) == (time_ms, link, 26)


@given(st.integers(0, (1 << 128) - 1))
def test_base32_is_read_back(number: int) -> None:
    assert decode_base32(encode_base32(number)) == number


@given(TIMES, LINKS, st.data())
def test_every_spelling_of_an_id_is_the_same_click(
    time_ms: int, link: int, data: st.DataObject
) -> None:
    made = ClickIdGenerator(1, KEYS[0], lambda: time_ms * MS).make(link)
    read_alike = {"0": "0oO", "1": "1iIlL"}
    choices = [read_alike.get(character, character + character.lower()) for character in made]
    spelling = "".join([data.draw(st.sampled_from(choice)) for choice in choices])
    assert canonical_click_id(spelling) == made
    assert verify_click_id(spelling, KEYS) == verify_click_id(made, KEYS)


@given(st.text(max_size=40) | st.text("0123456789abc\u0131lO\u017f", min_size=26, max_size=26))
def test_another_text_is_no_spelling_of_an_id(text: str) -> None:
    canonical = canonical_click_id(text)
    assert canonical_click_id(canonical) == canonical
    if canonical != text:
        assert text.isascii()
        assert decode_base32(canonical) is not None


@given(TIMES, TIMES, LINKS, LINKS)
def test_ids_sort_by_time(first_ms: int, second_ms: int, first: int, second: int) -> None:
    early = ClickIdGenerator(1, KEYS[0], lambda: min(first_ms, second_ms) * MS).make(first)
    late = ClickIdGenerator(2, KEYS[0], lambda: (max(first_ms, second_ms) + 1) * MS).make(second)
    assert early < late


def test_ids_of_all_workers_in_one_millisecond_are_unique() -> None:
    makers = [
        ClickIdGenerator(worker, KEYS[0], lambda: 1_000 * MS)
        for worker in range(0, WORKER_COUNT, 512)
    ]
    made = [maker.make(5) for maker in makers for _ in range(200)]
    assert len(set(made)) == len(made)


def test_more_than_4096_ids_in_a_millisecond_are_unique_and_rise() -> None:
    maker = ClickIdGenerator(3, KEYS[0], lambda: 1_000 * MS)
    made = [maker.make(5) for _ in range(10_000)]
    assert len(set(made)) == 10_000
    assert made == sorted(made)


@given(st.lists(st.integers(0, 5_000), min_size=2, max_size=200))
def test_ids_rise_whatever_the_clock_does(times_ms: list[int]) -> None:
    clock = iter(times_ms)
    maker = ClickIdGenerator(3, KEYS[0], lambda: next(clock) * MS)
    made = [maker.make(1) for _ in times_ms]
    assert made == sorted(set(made))


@given(TIMES, LINKS, st.integers(0, 25), st.data())
def test_every_single_changed_character_is_refused(
    time_ms: int, link: int, place: int, data: st.DataObject
) -> None:
    made = ClickIdGenerator(7, KEYS[0], lambda: time_ms * MS).make(link)
    same = {"0": "0O", "1": "1IL"}.get(made[place], made[place] + made[place].lower())
    others = [c for c in ALPHABET + "ILOUabcxyz-_ é" if c not in same]
    changed = made[:place] + data.draw(st.sampled_from(others)) + made[place + 1 :]
    assert verify_click_id(changed, KEYS) is None


@given(st.text(max_size=40))
def test_any_other_text_is_refused(text: str) -> None:
    assert verify_click_id(text, KEYS) is None


def test_ids_of_a_rotated_key_stay_genuine_until_it_is_gone() -> None:
    made = ClickIdGenerator(7, KEYS[1], lambda: 1_000 * MS).make(1)
    assert verify_click_id(made, KEYS) is not None
    assert verify_click_id(made, KEYS[:1]) is None
