"""Sends the mix by locust: `locust -f loadtests/locustfile.py --headless --scenario FILE Open`.

`Open` sends at a steady rate, whether or not answers arrive, and a time counts from when its
request was due. Each user of `Closed` sends its next request after an answer. FILE is a
`mix.Scenario` as JSON; `make load` writes one for an instance of its own. One process of locust
makes 1,000 to 2,000 requests/s on a core: use it for the mix, and wrk (`make bench`) for
saturation.
"""

import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import gevent
import msgspec
from gevent.pool import Group
from geventhttpclient import HTTPClient
from locust import User, events, task
from locust.env import Environment

from loadtests.chaos_load import AnsweredPost, ConversionAnswer
from loadtests.clicker import percentile
from loadtests.mix import Mix, MixRequest, Scenario

# More than the closed loop has users; in the open loop a request waits for a free connection.
_CONNECTIONS = 256
_ANSWER_SECONDS = 20.0
# Locust leaves the types of its events and runners open.
_EVENTS = cast(Any, events)
_EXPECTED = {"click": (302,), "conversion": (201, 202), "report": (200,)}


class _UnexpectedStatus(Exception):
    """The answer has a status that its kind of request does not allow."""


def _client(url: str) -> HTTPClient:
    parts = urlsplit(url)
    return HTTPClient(
        parts.hostname or "",
        parts.port,
        concurrency=_CONNECTIONS,
        connection_timeout=_ANSWER_SECONDS,
        network_timeout=_ANSWER_SECONDS,
    )


class Traffic:
    """Sends requests, reports each to locust, and records the acknowledged ones."""

    def __init__(self, scenario: Scenario, report_request: Callable[..., None]) -> None:
        self.scenario = scenario
        self.late_ms: list[float] = []
        self._report_request = report_request
        self._mix = Mix(scenario.codes, scenario.key, scenario.seed, scenario.first_number)
        self._edge, self._reports = _client(scenario.edge_url), _client(scenario.reports_url)
        self._clicks = bytearray()
        self._conversions = bytearray()

    def send(self, due: float) -> None:
        """Sends the mix's next request; `due` is a `time.perf_counter()`."""
        request = self._mix.next()
        failure: Exception | None = None
        size = 0
        try:
            size = self._request(request)
        except (_UnexpectedStatus, OSError) as error:
            failure = error
        self._report_request(
            request_type=request.method,
            name=request.kind,
            response_time=(time.perf_counter() - due) * 1000,
            response_length=size,
            exception=failure,
            context={},
        )

    def _request(self, request: MixRequest) -> int:
        client = self._reports if request.kind == "report" else self._edge
        answer = client.request(request.method, request.target, request.body, request.headers)
        body = bytes(answer.read())
        status = answer.status_code
        if status not in _EXPECTED[request.kind]:
            raise _UnexpectedStatus(f"{status}: {body[:200].decode(errors='replace')}")
        if request.kind == "click":
            self._record_click(request.number, str(answer["location"]))
        elif request.kind == "conversion":
            self._record_conversion(request.number, status, body)
        return len(body)

    def _record_click(self, number: int, location: str) -> None:
        click_id = location.partition("click_id=")[2][:26]
        self._clicks += f"{number:011d} {click_id}\n".encode()
        self._mix.add_click_id(click_id)

    def _record_conversion(self, number: int, status: int, body: bytes) -> None:
        conversion_id = msgspec.json.decode(body, type=ConversionAnswer).conversion_id
        posted = AnsweredPost(f"order_{number}", status, conversion_id)
        self._conversions += msgspec.json.encode(posted) + b"\n"

    def write_acknowledged(self) -> None:
        """Writes the acknowledged requests in the format that `chaos_check` reads."""
        folder = Path(self.scenario.folder)
        for name, lines in (("clicks.txt", self._clicks), ("conversions.jsonl", self._conversions)):
            with open(folder / name, "ab") as file:
                file.write(lines)


class _Sender(User):
    abstract = True
    traffic: ClassVar[Traffic]


class Closed(_Sender):
    """A user that sends its next request as soon as it has an answer."""

    @task
    def ask(self) -> None:
        self.traffic.send(time.perf_counter())


class Open(_Sender):
    """A single dispatcher that starts a greenlet for each request that is due."""

    fixed_count = 1

    @task
    def dispatch(self) -> None:
        scenario = self.traffic.scenario
        total = int(scenario.per_second * scenario.seconds)
        sending = Group()
        began = time.perf_counter()
        for number in range(total):
            due = began + number / scenario.per_second
            # No sleep while several are due: this loop must not set the pace.
            if (rest := due - time.perf_counter()) > 0:
                gevent.sleep(rest)
            sending.spawn(self._send, due)
        sending.join()
        cast(Any, self.environment).runner.quit()

    def _send(self, due: float) -> None:
        self.traffic.late_ms.append((time.perf_counter() - due) * 1000)
        self.traffic.send(due)


@_EVENTS.init_command_line_parser.add_listener
def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--scenario", required=True, help="File with the scenario as JSON.")


@_EVENTS.init.add_listener
def _begin(environment: Environment, **_: object) -> None:
    assert environment.parsed_options
    content = Path(environment.parsed_options.scenario).read_bytes()
    scenario = msgspec.json.decode(content, type=Scenario)
    _Sender.traffic = Traffic(scenario, _EVENTS.request.fire)


@_EVENTS.quitting.add_listener
def _end(**_: object) -> None:
    _Sender.traffic.write_acknowledged()
    if late := _Sender.traffic.late_ms:
        p99 = percentile(late, 0.99)
        print(f"times are from when a request was due; locust itself was late by p99 {p99:.1f} ms")
