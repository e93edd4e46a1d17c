"""One who listens to the live feed, and counts."""

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

_TICK_AS_OF = re.compile(rb'event: tick\n[^{]*\{"data_as_of":"([^"]+)"')


@dataclass
class FeedCounts:
    """What one dashboard was sent; `error` says why its feed ended before it was to."""

    ticks: int = 0
    events: int = 0
    error: str = ""


def age_seconds(as_of: str) -> float:
    """How old data is whose `data_as_of` this is."""
    return (datetime.now(UTC) - datetime.fromisoformat(as_of)).total_seconds()


async def listen(url: str, key: str, feed: FeedCounts, ages: list[float] | None) -> None:
    """The live feed, read as it comes; events are counted, not decoded. Until cancelled.

    Where `ages` is given, each tick adds how old the data was when it came.
    """
    parts = urlsplit(url)
    head = f"GET /v1/live HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n\r\n"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(head.encode())
        status, rest = await reader.readline(), b""
        while b" 200 " in status and (data := await reader.read(1 << 16)):
            # The end of what came may be the beginning of an event.
            events, _, rest = (rest + data).rpartition(b"\n\n")
            feed.ticks += events.count(b"event: tick\n")
            feed.events += events.count(b"event: click\n")
            if ages is not None:
                ages += [age_seconds(at.decode()) for at in _TICK_AS_OF.findall(events)]
        feed.error = f"after {status.decode().strip()}"
    except OSError as error:
        feed.error = str(error)
    finally:
        writer.close()
