"""The output of wrk is parsed with its refusals and socket errors."""

import pytest

from loadtests.bench import traffic, wrk
from loadtests.bench.plan import BenchFailed

CLEAN = """\
Running 4s test @ http://127.0.0.1:41873/
  1 threads and 256 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     9.40ms    2.10ms  41.03ms   87.22%
    Req/Sec    27.36k     1.91k   30.02k    82.50%
  108941 requests in 4.01s, 41.24MB read
Requests/sec:  27167.33
Transfer/sec:     10.28MB
"""
TROUBLED = CLEAN.replace(
    "Requests/sec",
    "  Socket errors: connect 1, read 20, write 300, timeout 4000\n"
    "  Non-2xx or 3xx responses: 941\nRequests/sec",
)


def test_a_clean_run_has_its_answers_and_rate_and_no_problem() -> None:
    measured = wrk.parse_summary(CLEAN)
    assert measured == wrk.WrkSummary(108941, 27167.33, socket_errors=0, refused=0)
    assert measured.problems() == []


def test_refusals_and_socket_errors_of_every_kind_are_reported() -> None:
    measured = wrk.parse_summary(TROUBLED)
    assert (measured.answered, measured.refused, measured.socket_errors) == (108000, 941, 4321)
    assert measured.problems() == ["941 answers of status 400 or more", "4,321 socket errors"]


def test_output_without_a_summary_stops_the_bench() -> None:
    with pytest.raises(BenchFailed, match="unable to connect"):
        wrk.parse_summary("unable to connect to 127.0.0.1:1 Connection refused")


def test_every_request_carries_a_browsers_headers() -> None:
    words = wrk.command(8000, 4, traffic.CLICKS_SCRIPT, ["codes.txt"])
    assert {f"{name}: {value}" for name, value in traffic.HEADERS.items()} <= set(words)
    assert words[-4:] == [str(traffic.CLICKS_SCRIPT), "http://127.0.0.1:8000/", "--", "codes.txt"]
