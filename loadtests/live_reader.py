"""Listens to the live feed and counts its events."""

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

_TICK_AS_OF = re.compile(rb'event: tick\n[^{]*\{"data_as_of":"([^"]+)"')


@dataclass
class FeedCounts:
    """Counts of one dashboard's feed; `error` is set if the feed ended early."""

    ticks: int = 0
    events: int = 0
    error: str = ""


def age_seconds(as_of: str) -> float:
    """Returns the age in seconds of data with this `data_as_of`."""
    return (datetime.now(UTC) - datetime.fromisoformat(as_of)).total_seconds()


async def listen(url: str, key: str, feed: FeedCounts, ages: list[float] | None) -> None:
    """Reads the live feed until cancelled; events are counted, not decoded.

    If `ages` is given, each tick appends the age of its data in seconds.
    """
    parts = urlsplit(url)
    head = f"GET /v1/live HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n\r\n"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(head.encode())
        status, rest = await reader.readline(), b""
        while b" 200 " in status and (data := await reader.read(1 << 16)):
            # The received bytes may end inside an event.
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
