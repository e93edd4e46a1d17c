"""Writes log lines to stderr, as JSON or for people, with anything like a secret masked.

What strangers can cause is one line a minute, however often it happens.
"""

import asyncio
import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# The order matters: a URL's password may hold an @, which would else pass for an e-mail address.
_SECRETS = (
    (re.compile(r"://[^\s/]*@"), "://***@"),
    (re.compile(r"\blj_(live|test|sign)_[A-Za-z0-9_-]+"), r"lj_\1_***"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+"), "whsec_***"),
    # Tried at the begin of a word only: at each of its characters a long one takes seconds.
    (re.compile(r"(?<![\w.+%-])[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+"), "***@***"),
)
MINUTE = 60.0
_LABELS_MAX = 32
_MESSAGES_MAX, _MESSAGE_MAX = 256, 200


def mask_text(text: str) -> str:
    """The text without API keys, webhook secrets, passwords of URLs and e-mail addresses."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def mask_value(value: object) -> object:
    """The value with every text in it masked; what JSON does not know becomes masked text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        pairs = cast(Mapping[object, object], value).items()
        return {mask_text(str(name)): mask_value(item) for name, item in pairs}
    if isinstance(value, list | tuple):
        return [mask_value(item) for item in cast(Sequence[object], value)]
    return mask_text(repr(value))


def _mask(logger: WrappedLogger, name: str, event: EventDict) -> MutableMapping[str, object]:
    return {key: mask_value(value) for key, value in event.items() if not key.startswith("_")}


def _add_pid(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    event["pid"] = os.getpid()
    return event


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _add_pid,
]
_MASKED: list[Processor] = [structlog.processors.format_exc_info, _mask]


def _renderer(line_format: str, stream: TextIO) -> Processor:
    terminal = stream.isatty()
    if line_format == "json" or (not line_format and not terminal):
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=terminal)


class MinuteLine:
    """Logs the first occurrence at once, and those of each minute after it as one line.

    The line has their number, and their numbers by label where they have labels: of a closed list,
    never what somebody sent. The traceback is that of the first with an error.
    """

    def __init__(self, level: int, event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._level = level
        self._event = event
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._error: BaseException | None = None
        self._due = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def count(self, label: str = "", *, error: BaseException | None = None) -> None:
        """Counts one occurrence, and logs if no line was written within the last minute."""
        known = label in self._counts or len(self._counts) < _LABELS_MAX
        self._counts[label if known else "other"] += 1
        self._error = self._error or error
        now = self._clock()
        if now >= self._due:
            self._write(now)
        elif self._timer is None:
            # Nothing else may happen that would write the last ones.
            with suppress(RuntimeError):
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._due - now, self._write_rest)

    def _write_rest(self) -> None:
        self._timer = None
        if self._counts:
            self._write(self._clock())

    def _write(self, now: float) -> None:
        counts, error = self._counts, self._error
        self._counts, self._error, self._due = Counter(), None, now + MINUTE
        fields: dict[str, object] = {"count": counts.total()}
        if any(counts):
            fields["by"] = dict(sorted(counts.items()))
        if error is not None:
            fields["exc_info"] = error
        structlog.get_logger().log(self._level, self._event, **fields)


class RepeatFilter(logging.Filter):
    """Lets a message of the standard library's loggers pass once a minute, and counts the others.

    uvicorn writes a traceback for every request that fails, asyncio a line for every write to a
    peer that has gone.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        # By message: when the next one passes, and how many did not.
        self._due: dict[tuple[str, str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[0] if record.exc_info else None
        # Without its arguments; what no template made may differ each time.
        message = (record.name, str(record.msg)[:_MESSAGE_MAX], error.__name__ if error else "")
        now = self._clock()
        due, suppressed = self._due.pop(message, (0.0, 0))
        if now < due:
            self._due[message] = due, suppressed + 1
            return False
        while len(self._due) >= _MESSAGES_MAX:
            del self._due[next(iter(self._due))]
        self._due[message] = now + MINUTE, 0
        if suppressed:
            record.msg = f"{record.msg} ({suppressed} more in the last minute)"
        return True


def configure(level: str, line_format: str = "", stream: TextIO | None = None) -> None:
    """Sends structlog's and the standard library's lines of `level` and above to `stream`.

    `level` and `line_format` are values of the settings `log_level` and `log_format`; `stream`
    is stderr unless given.
    """
    target: TextIO = sys.stderr if stream is None else stream
    last = [*_MASKED, _renderer(line_format, target)]
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_SHARED, *last],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    lines = logging.StreamHandler(target)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=last)
    )
    lines.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.handlers = [lines]
    root.setLevel(least)
    # Its INFO has five lines for every start and stop; ours have one.
    logging.getLogger("uvicorn").setLevel(max(least, logging.WARNING))
    # Its INFO has a line for every delivery, with its URL.
    logging.getLogger("httpx2").setLevel(max(least, logging.WARNING))
    logging.captureWarnings(True)
