"""Logs: JSON lines on stderr for every process, with whatever looks like a secret masked."""

import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# The order matters: a URL's password may hold an @, which would else pass for an e-mail address.
_SECRETS = (
    (re.compile(r"://[^\s/]*@"), "://***@"),
    (re.compile(r"\blj_(live|test)_[A-Za-z0-9_-]+"), r"lj_\1_***"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+"), "whsec_***"),
    (re.compile(r"[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+"), "***@***"),
)


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
_LAST: list[Processor] = [
    structlog.processors.format_exc_info,
    _mask,
    structlog.processors.JSONRenderer(),
]


def configure(level: str, stream: TextIO | None = None) -> None:
    """Sends structlog's and the standard library's lines of `level` and above to `stream`.

    `level` is a value of the setting `log_level`; `stream` is stderr unless given.
    """
    stream = stream or sys.stderr
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_SHARED, *_LAST],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    lines = logging.StreamHandler(stream)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=_LAST)
    )
    root = logging.getLogger()
    root.handlers = [lines]
    root.setLevel(least)
    # Its INFO tells every start and stop in five lines; ours tell them in one.
    logging.getLogger("uvicorn").setLevel(max(least, logging.WARNING))
    # It would tell of every delivery, with its URL.
    logging.getLogger("httpx2").setLevel(max(least, logging.WARNING))
    logging.captureWarnings(True)
