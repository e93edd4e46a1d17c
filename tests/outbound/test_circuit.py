"""An endpoint's failures decide when it gets requests, and how many at once."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from outbound import retries
from outbound.circuit import (
    CONCURRENCY,
    FAILURES_MAX,
    IN_FLIGHT_MAX,
    Circuit,
    Slots,
    after_failure,
    after_success,
)

NOW_MS = 1_800_000_000_000
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
OPEN = Circuit(failures=FAILURES_MAX, failed_tests=1, test_at_ms=NOW_MS)


def _failed(circuit: Circuit, times: int) -> Circuit:
    for _ in range(times):
        circuit = after_failure(circuit, NOW_MS)
    return circuit


def test_the_circuit_opens_after_failures_in_a_row_and_a_success_closes_it() -> None:
    failing = _failed(Circuit(), FAILURES_MAX - 1)
    assert not failing.is_open
    assert after_success(failing) == Circuit()
    failing = _failed(failing, 1)
    assert failing.is_open
    assert failing.failing_since_ms == NOW_MS
    assert NOW_MS + 800 <= failing.resumes_at_ms <= NOW_MS + 1_200
    assert after_success(failing) == Circuit()


def test_only_tests_that_fail_make_the_pause_longer() -> None:
    circuit, pauses_ms = OPEN, list[int]()
    assert after_failure(circuit, NOW_MS + 500).resumes_at_ms == NOW_MS
    for _ in range(10):
        circuit = after_failure(circuit, NOW_MS, is_test=True)
        pauses_ms.append(circuit.resumes_at_ms - NOW_MS)
    for pause_ms, seconds in zip(pauses_ms, (2, 4, 8, 16, 32, 60, 60, 60, 60, 60), strict=True):
        assert 800 * seconds <= pause_ms <= 1_200 * seconds


def test_a_pause_that_an_endpoint_asked_for_outlives_a_success() -> None:
    asked = after_failure(Circuit(), NOW_MS, retry_after_seconds=60)
    assert asked.is_open
    for circuit in (asked, after_success(asked), after_failure(asked, NOW_MS)):
        assert circuit.resumes_at_ms == NOW_MS + 60_000
    assert after_failure(asked, NOW_MS, retry_after_seconds=5).resumes_at_ms == NOW_MS + 60_000


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        (429, "60", 60),
        (503, " 60 ", 60),
        (429, "", 1),
        (429, "0", 1),
        (429, "soon", 1),
        (503, "", 0),
        (503, "99999999999999999999", 86_400),
        (503, format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (500, "60", 0),
        (200, "60", 0),
    ],
)
def test_an_endpoint_asks_to_wait_by_429_or_by_503_with_a_time(
    status: int, retry_after: str, seconds: float
) -> None:
    assert retries.pause_seconds(status, retry_after, NOW) == seconds


def test_an_open_circuit_lets_one_request_pass_when_its_pause_is_over() -> None:
    slots = Slots()
    assert slots.free(0.0, OPEN, NOW_MS - 1) == 0
    assert slots.free(0.0, OPEN, NOW_MS) == 1
    number = slots.start(0.0)
    assert slots.free(0.0, OPEN, NOW_MS) == 0
    slots.end(number)
    assert slots.free(0.0, OPEN, NOW_MS) == 1


def test_a_request_that_later_ones_have_overtaken_holds_no_slot() -> None:
    slots = Slots()
    slow = [slots.start(0.0) for _ in range(CONCURRENCY - 1)]
    for _ in range(CONCURRENCY):
        number = slots.start(0.5)
        slots.succeed(number)
        slots.end(number)
    assert slots.free(0.9, Circuit(), NOW_MS) == 1
    slots.start(0.9)
    assert slots.free(0.9, Circuit(), NOW_MS) == 0
    assert slots.free(1.1, Circuit(), NOW_MS) == len(slow)
    for _ in slow:
        slots.start(1.1)
    # These wait as long, but nothing has overtaken them.
    assert slots.free(9.0, Circuit(), NOW_MS) == 0


def test_requests_that_hang_are_bounded() -> None:
    slots, hanging, now = Slots(), 0, 0.0
    while slots.free(now, Circuit(), NOW_MS):
        slots.start(now)
        hanging += 1
        # One slot still has quick answers.
        for _ in range(CONCURRENCY if slots.free(now, Circuit(), NOW_MS) else 0):
            number = slots.start(now)
            slots.succeed(number)
            slots.end(number)
        now += 2.0
    assert hanging == IN_FLIGHT_MAX


def test_an_endpoint_may_fail_for_longer_than_a_delivery_is_tried() -> None:
    days = retries.longest_seconds(retries.DELAYS_SECONDS) / 86_400
    assert sum(retries.DELAYS_SECONDS) / 86_400 * 1.2 < days < 4
