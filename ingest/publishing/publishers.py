"""The edge's side of the streams: clicks and conversions, each published once and on disk."""

import asyncio

import msgspec
import structlog

from ingest import metrics
from ingest.publishing.frames import Payload
from ingest.publishing.group_commit import Lane
from ingest.publishing.stream_producer import Outlet
from linkjolt import redis_keys
from linkjolt.conversions.reservations import Reservation, read_reservation, write_reservation
from linkjolt.events import Conversion, ConversionState
from linkjolt.reasons import Reason, Rejected
from linkjolt.settings import Edge

# A frame stays far below Redis's limits; a call with 256 conversions holds Redis some 4 ms.
FRAME_CLICKS_MAX = 2_000
FRAME_CONVERSIONS_MAX = 256
_encode = msgspec.json.Encoder().encode
log = structlog.get_logger()


class ClickPublisher:
    """Publishes one worker's clicks on one shard; `shed` are the lost ones not told of yet."""

    def __init__(self, outlet: Outlet, settings: Edge) -> None:
        self.outlet = outlet
        self.shed = 0
        self.lane = Lane(
            self._send,
            frame_events_max=FRAME_CLICKS_MAX,
            waiting_max_bytes=settings.waiting_max_bytes,
        )

    def publish(self, *lines: str) -> asyncio.Future[None]:
        """Done when these clicks are on disk, or shed: the visitors go on either way.

        One frame takes them, so at most FRAME_CLICKS_MAX.
        """
        try:
            # At most four bytes a character where a line is not plain.
            size_bytes = sum([len(line) if line.isascii() else len(line) * 4 for line in lines])
            return self.lane.add(size_bytes, *lines)[0]
        except Rejected:
            self._shed(len(lines))
            shed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            shed.set_result(None)
            return shed

    async def _send(self, lines: list[str]) -> None:
        payload = Payload([], [b"%d" % len(lines), "\n".join(lines).encode()])
        try:
            await self.outlet.send(payload, payload, len(lines))
        except Rejected:
            self._shed(len(lines))
        except Exception:
            # A fault of ours must not pass for a click that was kept.
            log.exception("a frame of clicks could not be published", clicks=len(lines))
            self._shed(len(lines))
        else:
            metrics.CLICKS.inc(len(lines))

    def _shed(self, clicks: int) -> None:
        metrics.CLICKS_SHED.inc(clicks)
        self.shed += clicks


class Posted(msgspec.Struct, frozen=True):
    """A conversion to publish; posts of one order with equal fingerprints are the same post.

    `order_digest` names the reservation: of the order, or of the conversion itself if it has none.
    `again` is the conversion in case another one has the order: one of the same order, under a
    reservation of its own; but where `timed`, an equal fingerprint still is the same post.
    """

    conversion: Conversion
    state: ConversionState
    order_digest: str
    fingerprint: str
    shard: int = 0
    again: "Posted | None" = None
    timed: bool = False


class Queued(msgspec.Struct, frozen=True):
    """The post is on the edge's disk; whether its order was free shows when Redis is back."""


class Entry(msgspec.Struct, frozen=True):
    """A conversion as a call carries it: the order's key, what it reserves, the stream's line.

    `again` and `timed` as in `Posted`.
    """

    conversion_id: str
    order: str
    reserved: bytes
    line: bytes
    again: "Entry | None" = None
    timed: bool = False


class ConversionPublisher:
    """Publishes conversions on one shard, reserving each order in the same call."""

    def __init__(self, outlet: Outlet, shard: int, settings: Edge) -> None:
        self.outlet = outlet
        self._shard = shard
        self._keep_seconds = settings.conversion_state_days * 86_400
        self.lane = Lane(
            self._send,
            frame_events_max=FRAME_CONVERSIONS_MAX,
            waiting_max_bytes=settings.waiting_max_bytes,
        )

    async def publish(self, posted: Posted) -> ConversionState | Reservation | Queued:
        """`outcome` of this post, when it is known."""
        answer, place = self.add(posted)
        return outcome(posted, await answer, place)

    def add(self, posted: Posted) -> tuple[asyncio.Future[list[bytes] | None], int]:
        """Outcomes of a frame, and the post's place in it, for `outcome` to read.

        Rejected(unavailable), at once or from the future, where it was not taken: nothing is
        known of it then.
        """
        entry = self.entry(posted)
        return self.lane.add(len(entry.line) + len(entry.reserved), entry)

    def entry(self, posted: Posted) -> Entry:
        """What a call carries of the post."""
        identity, line = posted.conversion.conversion_id, _encode(posted.conversion)
        reserved = write_reservation(identity, posted.fingerprint, posted.state)
        order = redis_keys.order(self._shard, posted.order_digest)
        again = self.entry(posted.again) if posted.again else None
        return Entry(identity, order, reserved, line, again, posted.timed)

    async def _send(self, entries: list[Entry]) -> list[bytes] | None:
        ids = tuple([entry.conversion_id for entry in entries])
        keys = [entry.order for entry in entries]
        keys += [redis_keys.conversion(self._shard, identity) for identity in ids]
        lines = b"\n".join([entry.line for entry in entries])
        words = [lines, *[entry.reserved for entry in entries]]
        for place, entry in enumerate(entries, 1):
            if entry.again:
                keys.append(entry.again.order)
                timed = b"1" if entry.timed else b"0"
                words += [b"%d" % place, entry.again.reserved, entry.again.line, timed]
        keep = b"%d" % self._keep_seconds
        straight = Payload(keys, [keep, b"0", *words])
        spooled = Payload(keys, [keep, b"1", *words])
        return await self.outlet.send(straight, spooled, len(entries), ids)


def outcome(
    posted: Posted, outcomes: list[bytes] | None, place: int
) -> ConversionState | Reservation | Queued:
    """The state of this post where it is on disk, else what stood under its order before.

    Rejected(unavailable) where nothing is known of it.
    """
    if outcomes is None:
        return Queued()
    held = outcomes[place]
    if not held:
        return posted.state
    if held == b"again":
        return (posted.again or posted).state
    if held == b"lost":
        raise Rejected(Reason.unavailable, "Redis lost the reservation of this order")
    reservation = read_reservation(held)
    own = reservation.conversion_id == posted.conversion.conversion_id
    return reservation.state if own else reservation
