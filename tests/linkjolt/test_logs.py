"""Log lines are JSON or text for people, and secrets are masked in both."""

import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from linkjolt import logs


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("key lj_live_0aZ9bY8c refused", "key lj_live_*** refused"),
        ("lj_test_0aZ9bY8c", "lj_test_***"),
        ("secret whsec_MfKQ9r8+/GKYqrTw==", "secret whsec_***"),
        ("redis://:p@ss@127.0.0.1:6379/0 is away", "redis://***@127.0.0.1:6379/0 is away"),
        ("from ann.b+shop@mail.example.com to us", "from ***@*** to us"),
        ("?email=ann%40example.com&x=1", "?email=***@***&x=1"),
        ("nothing to hide: 12:30 @home", "nothing to hide: 12:30 @home"),
    ],
)
def test_what_looks_like_a_secret_is_masked_in_text(secret: str, shown: str) -> None:
    assert logs.mask_text(secret) == shown


def test_a_secret_is_masked_anywhere_in_a_line(
    read_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    nested: dict[str, object] = {
        "headers": [("authorization", "Bearer lj_live_AbC123")],
        "error": ValueError("no answer from redis://u:secret@h:1/0"),
    }
    structlog.get_logger().info("asked by\nann@example.com", request=nested, tries=2)
    line = read_lines()[0]
    assert line["event"] == "asked by\n***@***"
    assert line["request"]["headers"] == [["authorization", "Bearer lj_live_***"]]
    assert line["request"]["error"] == "ValueError('no answer from redis://***@h:1/0')"
    assert line["tries"] == 2


def test_a_secret_in_a_traceback_is_masked(
    read_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    try:
        raise ConnectionError("cannot reach redis://:secret@h:1/0")
    except ConnectionError:
        structlog.get_logger().exception("it failed")
    exception = read_lines()[0]["exception"]
    assert "ConnectionError: cannot reach redis://***@h:1/0" in exception
    assert ":secret@" not in exception


def test_lines_of_the_standard_library_take_the_same_way(
    read_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    logging.getLogger("uvicorn.error").warning("lost %s", "ann@example.com")
    line = read_lines()[0]
    assert (line["event"], line["level"]) == ("lost ***@***", "warning")
    assert {"timestamp", "pid"} <= line.keys()


def test_lines_below_the_level_are_not_written(
    read_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    structlog.get_logger().debug("unseen")
    logging.getLogger("any").debug("unseen")
    logging.getLogger("uvicorn.error").info("unseen")
    structlog.get_logger().info("seen")
    assert [line["event"] for line in read_lines()] == ["seen"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("line_format", "stream", "is_json"),
    [
        ("", io.StringIO(), True),
        ("", Terminal(), False),
        ("json", Terminal(), True),
        ("console", io.StringIO(), False),
    ],
)
@pytest.mark.usefixtures("read_lines")
def test_lines_are_for_people_on_a_terminal_and_json_elsewhere(
    line_format: str, stream: io.StringIO, is_json: bool
) -> None:
    logs.configure("info", line_format, stream)
    structlog.get_logger().info("started", key="lj_live_AbC123")
    line = stream.getvalue()
    assert line.startswith("{") is is_json
    assert "started" in line
    assert "lj_live_***" in line
    assert "AbC123" not in line
    assert ("\x1b[" in line) is (isinstance(stream, Terminal) and not is_json)
