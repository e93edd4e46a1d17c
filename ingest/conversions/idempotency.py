"""`Idempotency-Key`: what is posted again under a key is the same conversion, for 24 hours.

After draft-ietf-httpapi-idempotency-key-header: the same key with another body is refused (422).
A claim holds what was posted and the id that it got, so that whoever comes after a crash takes it
under that id.
"""

from hashlib import blake2s

import msgspec
from starlette.types import Scope

from ingest.conversions.body import ConversionPost, parse_post
from ingest.conversions.decision import Case
from ingest.conversions.first_orders import Claims
from ingest.conversions.intake import Intake
from ingest.edge import Edge
from ingest.publishing.publishers import Posted
from linkjolt import redis_keys
from linkjolt.conversions.answer import answer
from linkjolt.conversions.reservations import Held, find_held
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.storage.redis import RedisError
from linkjolt.web import requests

HEADER = "Idempotency-Key"
_KEPT_SECONDS = 86_400
_MAX_CHARACTERS = 255


class _Claim(msgspec.Struct, frozen=True):
    """What was first posted under a key."""

    said: str
    conversion_id: str


def idempotency_key(scope: Scope) -> str:
    """The key of a request, '' for none; Rejected for one that is no key."""
    text = requests.header(scope, b"idempotency-key").strip()
    if len(text) > _MAX_CHARACTERS or not (text.isascii() and text.isprintable()):
        message = f"must be at most {_MAX_CHARACTERS} printable ASCII characters"
        raise Rejected(Reason.invalid_field, message, field=HEADER)
    return text


def check_alone(key: str) -> None:
    """Rejected where a key came with many conversions."""
    if key:
        message = "goes with one conversion: of many, each has its order_id"
        raise Rejected(Reason.invalid_field, message, field=HEADER)


class Once:
    """Takes a post under its key."""

    def __init__(self, edge: Edge, intake: Intake) -> None:
        self._edge = edge
        self._intake = intake
        self._claims = Claims(edge.fast)

    async def take(self, once: str, body: bytes, key: ApiKey, now_ms: int) -> tuple[int, bytes]:
        """Status and answer as `Intake.answer`; Rejected, or RedisError, if it was not taken."""
        post = parse_post(body)
        case = await self._intake.decided(post, key, now_ms)
        posted = await self._intake.made(case, now_ms)
        claim = _Claim(_said(post, posted), posted.conversion.conversion_id)
        held = await self._claim(once, key, claim, has_order=post.order_id is not None)
        if held.said != claim.said:
            message = "was used for another body within 24 hours"
            raise Rejected(Reason.idempotency_key_reused, message, field=HEADER)
        if held.conversion_id == claim.conversion_id:
            return await self._publish(case, posted, key)
        found = await find_held(self._edge.redis, self._edge.settings.shards, held.conversion_id)
        if isinstance(found, Held):
            state = found.reservation.state
            return 200, answer(state.first or state, duplicate=True)
        # Whoever claimed it did not come to publish it, or its order was taken.
        posted = await self._intake.made(case, now_ms, held.conversion_id)
        return await self._publish(case, posted, key)

    async def _publish(self, case: Case, posted: Posted, key: ApiKey) -> tuple[int, bytes]:
        taken = self._intake.publish(case, posted)
        status, body = await self._intake.answer(taken, key)
        if status == 201 and taken.stood(await taken.frame):
            # Another one under the same key was quicker.
            return 200, answer(posted.state, duplicate=True)
        return status, body

    async def _claim(self, once: str, key: ApiKey, claim: _Claim, *, has_order: bool) -> _Claim:
        """The claim that stands. Without Redis an order is claim enough; else RedisError."""
        digest = blake2s(f"{key.books}:{once}".encode(), digest_size=16).hexdigest()
        name = redis_keys.idempotency(int(digest, 16) % self._edge.settings.shards, digest)
        own = msgspec.json.encode(claim)
        try:
            held = await self._claims.claim(name, own, keep_seconds=_KEPT_SECONDS)
        except RedisError:
            if has_order:
                return claim
            raise
        return msgspec.json.decode(held, type=_Claim)


def _said(post: ConversionPost, posted: Posted) -> str:
    """Equal for posts that say the same."""
    text = f"{post.event}\n{len(post.order_id or '')}\n{post.order_id}\n{posted.fingerprint}"
    return blake2s(text.encode(), digest_size=16).hexdigest()
