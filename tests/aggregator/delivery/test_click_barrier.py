"""Clicks are complete up to a closing of conversions once all that came before it is stored."""

from aggregator.delivery.click_barrier import (
    PUBLISHED_GRACE_MS,
    SPOOLED_GRACE_MS,
    ClickBarrier,
)

CLOSED_MS = 1_000_000
SETTLED_MS = CLOSED_MS + PUBLISHED_GRACE_MS
BEHIND, AT_TOP = {0: 4, 2: 7}, {0: 5, 2: 7}


def barrier(*, spooled: bool) -> ClickBarrier:
    """One closing at which the click streams 0 and 2 ended at positions 5 and 7."""
    made = ClickBarrier()
    made.add(CLOSED_MS, AT_TOP, CLOSED_MS, spooled=spooled)
    return made


def test_clicks_are_complete_when_every_stream_is_stored_up_to_its_end_at_the_closing() -> None:
    marked = barrier(spooled=False)
    assert marked.clicks_complete_until_ms(BEHIND, SETTLED_MS) == 0
    assert marked.clicks_complete_until_ms(AT_TOP, SETTLED_MS) == CLOSED_MS


def test_a_closing_counts_only_after_edges_had_time_to_report_spooled_events() -> None:
    marked = barrier(spooled=False)
    assert marked.clicks_complete_until_ms(AT_TOP, SETTLED_MS - 1) == 0
    assert marked.clicks_complete_until_ms(AT_TOP, SETTLED_MS) == CLOSED_MS


def test_a_closing_while_events_were_spooled_does_not_count_though_they_are_drained() -> None:
    marked = barrier(spooled=True)
    overdue_ms = SETTLED_MS - SPOOLED_GRACE_MS
    assert marked.clicks_complete_until_ms(AT_TOP, SETTLED_MS) == overdue_ms
    drained_ms = SETTLED_MS + 1
    # The drained click is below the end of the streams now, and not stored yet.
    marked.add(drained_ms, {0: 6, 2: 7}, drained_ms, spooled=False)
    later_ms = drained_ms + PUBLISHED_GRACE_MS
    overdue_ms = later_ms - SPOOLED_GRACE_MS
    assert marked.clicks_complete_until_ms(AT_TOP, later_ms) == overdue_ms < CLOSED_MS
    assert marked.clicks_complete_until_ms({0: 6, 2: 7}, later_ms) == drained_ms


def test_a_report_of_spooled_events_reaches_back_to_the_closings_just_before_it() -> None:
    marked = barrier(spooled=False)
    reported_ms = CLOSED_MS + PUBLISHED_GRACE_MS - 1
    marked.add(reported_ms, AT_TOP, reported_ms, spooled=True)
    later_ms = reported_ms + PUBLISHED_GRACE_MS
    overdue_ms = later_ms - SPOOLED_GRACE_MS
    assert marked.clicks_complete_until_ms(AT_TOP, later_ms) == overdue_ms < CLOSED_MS


def test_an_older_closing_counts_though_events_are_spooled_since() -> None:
    marked = barrier(spooled=False)
    marked.add(SETTLED_MS, AT_TOP, SETTLED_MS, spooled=True)
    assert marked.clicks_complete_until_ms(AT_TOP, SETTLED_MS + PUBLISHED_GRACE_MS) == CLOSED_MS


def test_spooled_events_hold_conversions_up_for_half_a_minute_and_no_longer() -> None:
    marked = barrier(spooled=True)
    overdue_ms = CLOSED_MS + SPOOLED_GRACE_MS
    assert marked.clicks_complete_until_ms(AT_TOP, overdue_ms - 1) == CLOSED_MS - 1
    assert marked.clicks_complete_until_ms(AT_TOP, overdue_ms + 5) == CLOSED_MS


def test_cleared_closings_count_no_more() -> None:
    marked = barrier(spooled=False)
    assert marked.clicks_complete_until_ms(AT_TOP, SETTLED_MS) == CLOSED_MS
    marked.clear()
    assert marked.clicks_complete_until_ms(AT_TOP, SETTLED_MS + SPOOLED_GRACE_MS) == 0
