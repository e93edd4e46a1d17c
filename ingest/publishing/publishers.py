"""Publishes an edge's clicks and conversions: each once, and on disk before it is answered."""

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from ingest import metrics
from ingest.fingerprints import former_fingerprint
from ingest.publishing.frames import ConversionOutcome, Payload
from ingest.publishing.group_commit import GroupCommit
from ingest.publishing.stream_producer import StreamProducer
from linkjolt import redis_keys
from linkjolt.conversions.reservations import Reservation, encode_reservation, parse_reservation
from linkjolt.events import Conversion, ConversionState
from linkjolt.logs import MinuteLine
from linkjolt.reasons import Reason, Rejected
from linkjolt.settings import EdgeSettings

# A frame stays far below Redis's limits; a call with 256 conversions blocks Redis for some 4 ms.
FRAME_CLICKS_MAX = 2_000
FRAME_CONVERSIONS_MAX = 256
_encode = msgspec.json.Encoder().encode


class ClickPublisher:
    """Publishes one worker's clicks on one shard.

    `unreported_shed` counts the shed clicks that no status report has carried yet.
    """

    def __init__(self, producer: StreamProducer, settings: EdgeSettings) -> None:
        self.producer = producer
        self.unreported_shed = 0
        self._not_published = MinuteLine(logging.ERROR, "frames of clicks not published")
        self.group_commit = GroupCommit(
            self._send,
            frame_events_max=FRAME_CLICKS_MAX,
            waiting_max_bytes=settings.waiting_max_bytes,
        )

    def publish(self, *lines: str) -> asyncio.Future[None]:
        """Publishes clicks; the future is done when they are on disk, or counted as shed.

        At most FRAME_CLICKS_MAX, as they travel in one frame.
        """
        try:
            # UTF-8 needs at most four bytes a character.
            size_bytes = sum([len(line) if line.isascii() else len(line) * 4 for line in lines])
            return self.group_commit.add(size_bytes, *lines)[0]
        except Rejected:
            self._count_shed(len(lines))
            shed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            shed.set_result(None)
            return shed

    async def _send(self, lines: list[str]) -> None:
        payload = Payload([], ["\n".join(lines).encode()])
        try:
            await self.producer.send(payload, payload, len(lines))
        except Rejected:
            self._count_shed(len(lines))
        except Exception as error:
            # A fault of ours must not pass for a stored click.
            self._not_published.count(error=error)
            self._count_shed(len(lines))
        else:
            metrics.CLICKS.inc(len(lines))

    def _count_shed(self, clicks: int) -> None:
        metrics.CLICKS_SHED.inc(clicks)
        self.unreported_shed += clicks


class PostedConversion(msgspec.Struct, frozen=True):
    """A conversion to publish; posts of one order with equal fingerprints are the same post.

    `order_digest` names the reservation: of the order, or of the conversion if it has no order.
    `repeat` is the conversion to publish if another one has the order, under a reservation of its
    own; where `has_timestamp`, an equal fingerprint is still the same post. `account_digest` is set
    where the order is reserved for its campaign only: that of the same order of the account. A
    `direct_only` post is not spooled: it may change a conversion, which only Redis knows. `content`
    is what was hashed, and `former_digest` the digest of a reservation of its own that a former
    release made for the post: neither is stored.
    """

    conversion: Conversion
    state: ConversionState
    order_digest: str
    fingerprint: str
    shard: int = 0
    repeat: "PostedConversion | None" = None
    has_timestamp: bool = False
    account_digest: str = ""
    direct_only: bool = False
    content: bytes = b""
    former_digest: str = ""

    def has_made(self, existing: Reservation) -> bool:
        """Returns whether this post, sent before, has made a reservation."""
        known = existing.fingerprint
        return known == self.fingerprint or known == former_fingerprint(self.content)


class QueuedPost(msgspec.Struct, frozen=True):
    """A post on the edge's disk; whether its order was free is known when Redis is back."""


class ScriptEntry(msgspec.Struct, frozen=True):
    """A conversion as a call carries it: the order's key, the reservation, the stream's line.

    `groups` are further keys, each with its arguments after the conversion's index. `former_key` is
    one that is read, and that no spool may hold.
    """

    conversion_id: str
    order_key: str
    reservation: bytes
    line: bytes
    groups: tuple[tuple[str, bytes, bytes, bytes], ...] = ()
    direct_only: bool = False
    former_key: str = ""


class ConversionPublisher:
    """Publishes conversions on one shard, reserving each order in the same call."""

    def __init__(self, producer: StreamProducer, shard: int, settings: EdgeSettings) -> None:
        self.producer = producer
        self._shard = shard
        self._reservation_seconds = settings.conversion_state_days * 86_400
        self.group_commit = GroupCommit(
            self._send,
            frame_events_max=FRAME_CONVERSIONS_MAX,
            waiting_max_bytes=settings.waiting_max_bytes,
        )

    async def publish(self, posted: PostedConversion) -> ConversionState | Reservation | QueuedPost:
        """Publishes one post and returns its outcome, as `read_outcome`."""
        answer, frame_index = self.add(posted)
        return read_outcome(posted, await answer, frame_index)

    def add(self, posted: PostedConversion) -> tuple[asyncio.Future[list[bytes] | None], int]:
        """Adds a post; returns its frame's future outcomes and its index, for `read_outcome`.

        Rejected(unavailable), raised or set on the future: the post was not accepted, and may or
        may not have been stored.
        """
        entry = self.script_entry(posted)
        return self.group_commit.add(len(entry.line) + len(entry.reservation), entry)

    def script_entry(self, posted: PostedConversion) -> ScriptEntry:
        """Encodes a post for the script."""
        conversion_id, line = posted.conversion.conversion_id, _encode(posted.conversion)
        reservation = encode_reservation(conversion_id, posted.fingerprint, posted.state)
        order_key = redis_keys.order(self._shard, posted.order_digest)
        groups: tuple[tuple[str, bytes, bytes, bytes], ...] = ()
        if posted.repeat:
            repeat = self.script_entry(posted.repeat)
            has_timestamp = b"1" if posted.has_timestamp else b"0"
            groups = ((repeat.order_key, repeat.reservation, repeat.line, has_timestamp),)
        if posted.account_digest:
            account_key = redis_keys.order(self._shard, posted.account_digest)
            claim = (account_key, b"%d" % posted.conversion.campaign, b"", b"campaign")
            groups = (*groups, claim)
        former_digest = (posted.repeat or posted).former_digest
        former_key = redis_keys.order(self._shard, former_digest) if former_digest else ""
        return ScriptEntry(
            conversion_id, order_key, reservation, line, groups, posted.direct_only, former_key
        )

    async def _send(self, entries: list[ScriptEntry]) -> list[bytes] | None:
        spoolable = [entry for entry in entries if not entry.direct_only]
        direct = self._payload(entries)
        # Mostly no entry has other keys than its two.
        is_spooled_alike = len(spoolable) == len(entries) and len(direct.keys) == 2 * len(entries)
        spooled = direct if is_spooled_alike else self._payload(spoolable, spooled=True)
        return await self.producer.send(
            direct,
            _as_spooled(spooled) if spoolable else None,
            len(entries),
            tuple([entry.conversion_id for entry in spoolable]),
        )

    def _payload(self, entries: Sequence[ScriptEntry], *, spooled: bool = False) -> Payload:
        keys = [entry.order_key for entry in entries]
        keys += [redis_keys.conversion(self._shard, entry.conversion_id) for entry in entries]
        lines = b"\n".join([entry.line for entry in entries])
        arguments = [b"%d" % self._reservation_seconds, b"0", lines]
        arguments += [entry.reservation for entry in entries]
        for place, entry in enumerate(entries, 1):
            if entry.groups:
                for key, *group in entry.groups:
                    keys.append(key)
                    arguments += [b"%d" % place, *group]
            if entry.former_key and not spooled:
                keys.append(entry.former_key)
                arguments += [b"%d" % place, b"", b"", b"former"]
        return Payload(keys, arguments)


def _as_spooled(direct: Payload) -> Payload:
    """Returns the payload of posts that were answered before."""
    seconds, _, *rest = direct.arguments
    return Payload(direct.keys, [seconds, b"1", *rest])


def read_outcome(
    posted: PostedConversion, outcomes: list[bytes] | None, frame_index: int
) -> ConversionState | Reservation | QueuedPost:
    """Returns this post's state if it was stored, else the reservation its order had before.

    `outcomes` None: the frame was spooled. Rejected(unavailable) where the outcome is unknown.
    """
    if outcomes is None:
        if posted.direct_only:
            message = "Redis is unavailable, and the post may change a conversion"
            raise Rejected(Reason.unavailable, message)
        return QueuedPost()
    existing = outcomes[frame_index]
    if not existing:
        return posted.state
    if existing == ConversionOutcome.shared:
        return msgspec.structs.replace(posted.state, order_shared=True)
    if existing == ConversionOutcome.repeated:
        return (posted.repeat or posted).state
    if existing == ConversionOutcome.lost:
        raise Rejected(Reason.unavailable, "Redis lost the reservation of this order")
    reservation = parse_reservation(existing)
    is_this_post = reservation.conversion_id == posted.conversion.conversion_id
    return reservation.state if is_this_post else reservation
