"""Decides when an endpoint may get requests, and how many at once; pure.

A request that fails says something about its delivery, and about its endpoint: after some failures
in a row the circuit is open, and one delivery at a time tests whether the endpoint answers again.
"""

import msgspec

from outbound.retries import pause_before_test_seconds

CONCURRENCY = 8
# With those that hang, each of which holds a connection.
IN_FLIGHT_MAX = 32
FAILURES_MAX = 5
# An answer takes that long, and as many later ones have come before it: it hangs.
_HANGS_AFTER_SECONDS = 1.0
_HANGS_AFTER_SUCCESSES = CONCURRENCY


class Circuit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The failures of an endpoint in a row, and the pauses that follow from them.

    `asked_until_ms` is the end of the pause that the endpoint asked for by Retry-After; a success
    of a request sent before does not end it.
    """

    failures: int = 0
    failing_since_ms: int = 0
    failed_tests: int = 0
    test_at_ms: int = 0
    asked_until_ms: int = 0

    @property
    def is_open(self) -> bool:
        return self.failures >= FAILURES_MAX

    @property
    def resumes_at_ms(self) -> int:
        return max(self.asked_until_ms, self.test_at_ms)


def after_success(circuit: Circuit) -> Circuit:
    """Closes the circuit."""
    return Circuit(asked_until_ms=circuit.asked_until_ms)


def after_failure(
    circuit: Circuit, now_ms: int, *, retry_after_seconds: float = 0.0, is_test: bool = False
) -> Circuit:
    """Counts a failure; the circuit opens after some in a row, or when asked to wait.

    Each test that fails doubles the pause to the next one; what was under way before does not.
    """
    failures, asked_until_ms = circuit.failures + 1, circuit.asked_until_ms
    if retry_after_seconds:
        failures = max(failures, FAILURES_MAX)
        asked_until_ms = max(asked_until_ms, now_ms + int(retry_after_seconds * 1000))
    changed = msgspec.structs.replace(
        circuit,
        failures=failures,
        failing_since_ms=circuit.failing_since_ms or now_ms,
        asked_until_ms=asked_until_ms,
    )
    if not changed.is_open or (circuit.is_open and not is_test):
        return changed
    pause_ms = int(pause_before_test_seconds(circuit.failed_tests) * 1000)
    return msgspec.structs.replace(
        changed, failed_tests=circuit.failed_tests + 1, test_at_ms=now_ms + pause_ms
    )


class _Request:
    __slots__ = ("overtaken", "started_at")

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.overtaken = 0


class Slots:
    """The requests of one endpoint that are under way.

    Each holds one of its slots, unless it hangs: then a slot stays free for those that do not.
    """

    def __init__(self) -> None:
        self._requests: dict[int, _Request] = {}
        self._started = 0

    def start(self, now: float) -> int:
        """Starts a request; returns its number."""
        self._started += 1
        self._requests[self._started] = _Request(now)
        return self._started

    def succeed(self, number: int) -> None:
        """Counts a success for those that started before it and still wait."""
        for other, request in self._requests.items():
            if other < number:
                request.overtaken += 1

    def end(self, number: int) -> None:
        del self._requests[number]

    def free(self, now: float, circuit: Circuit, now_ms: int) -> int:
        """Returns how many requests may start."""
        under_way = len(self._requests)
        if now_ms < circuit.resumes_at_ms:
            return 0
        if circuit.is_open:
            return 0 if under_way else 1
        if under_way < CONCURRENCY:
            return CONCURRENCY - under_way
        held = sum(not self._hangs(request, now) for request in self._requests.values())
        return max(0, min(CONCURRENCY - held, IN_FLIGHT_MAX - under_way))

    def _hangs(self, request: _Request, now: float) -> bool:
        overtaken = request.overtaken >= _HANGS_AFTER_SUCCESSES
        return overtaken and now - request.started_at > _HANGS_AFTER_SECONDS
