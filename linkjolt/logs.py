"""Writes log lines to stderr, as JSON or for people, with anything like a secret masked."""

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
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
_REPEAT_SECONDS = 60.0
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
        self._due[message] = now + _REPEAT_SECONDS, 0
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
