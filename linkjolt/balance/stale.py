"""Decides which accepted events have waited to be stored for longer than they may."""

import math
from pathlib import Path

import msgspec

from linkjolt.balance.disk_spools import SpooledEvents
from linkjolt.balance.edge_status import EdgeTotals
from linkjolt.settings import SharedSettings


class StaleRule(msgspec.Struct, frozen=True):
    """After how many seconds waiting events are stale, and where this machine's spools are."""

    after_seconds: float = math.inf
    spool_folder: Path | None = None


NEVER_STALE = StaleRule()


class WaitingEvents(msgspec.Struct, frozen=True):
    """Events that wait in a stream or a spool, the oldest of them for at least so many seconds."""

    where: str
    events: int
    seconds: float


def stale_rule(settings: SharedSettings) -> StaleRule:
    return StaleRule(settings.stale_after_seconds, Path(settings.data, "spool"))


def spooled_events(disk: list[SpooledEvents], edges: EdgeTotals) -> list[WaitingEvents]:
    """Lists what waits in spools: of files on this machine, and of running edges anywhere.

    A file tells no more than when it was last written, an edge since when its spool is not empty.
    The events of an edge on this machine are in both.
    """
    return [
        *(WaitingEvents(f"spool of {s.stream}", s.events, s.unchanged_seconds) for s in disk),
        *(
            WaitingEvents(f"spool of edge {worker}", spool.events, spool.seconds)
            for worker, spool in edges.spools.items()
        ),
    ]
