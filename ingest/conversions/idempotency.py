"""Treats posts under one `Idempotency-Key` as one conversion, for 24 hours.

After draft-ietf-httpapi-idempotency-key-header: the same key with another body is refused (422).
A claim holds the post's digest and its conversion id, so that a retry after a crash reuses the id.
"""

from hashlib import blake2s

import msgspec
from starlette.types import Scope

from ingest.conversions.body import ConversionPost, parse_post
from ingest.conversions.customer_claims import Claims
from ingest.conversions.decision import Decision, make_conversion
from ingest.conversions.intake import Intake
from ingest.edge import Edge
from ingest.fingerprints import former_fingerprint
from ingest.publishing.publishers import PostedConversion
from linkjolt import redis_keys
from linkjolt.conversions.answer import answer
from linkjolt.conversions.reservations import StoredReservation, find_reservation
from linkjolt.privacy.customers import hashed_key
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.storage.redis import RedisError
from linkjolt.web import requests

HEADER = "Idempotency-Key"
_CLAIM_SECONDS = 86_400
_KEY_MAX_CHARACTERS = 255


class IdempotencyClaim(msgspec.Struct, frozen=True):
    """The digest and conversion id of the first post under a key."""

    post_digest: str = msgspec.field(name="said")
    conversion_id: str


def read_idempotency_key(scope: Scope) -> str:
    """Reads a request's key, '' for none; Rejected for an invalid one."""
    text = requests.header(scope, b"idempotency-key").strip()
    if not text:
        return ""
    if len(text) > _KEY_MAX_CHARACTERS or not (text.isascii() and text.isprintable()):
        message = f"must be at most {_KEY_MAX_CHARACTERS} printable ASCII characters"
        raise Rejected(Reason.invalid_field, message, field=HEADER)
    return text


def check_single(key: str) -> None:
    """Refuses a key sent with many conversions."""
    if key:
        message = "goes with one conversion: of many, each has its order_id"
        raise Rejected(Reason.invalid_field, message, field=HEADER)


class IdempotentIntake:
    """Accepts posts that carry an idempotency key."""

    def __init__(self, edge: Edge, intake: Intake) -> None:
        self._edge = edge
        self._intake = intake
        self._claims = Claims(edge.fast_redis)

    async def accept(
        self, idempotency_key: str, body: bytes, key: ApiKey, now_ms: int
    ) -> tuple[int, bytes]:
        """Returns status and answer as `Intake.answer`; Rejected or RedisError if not accepted."""
        post = parse_post(body)
        decision = await self._intake.decide(post, key, now_ms, repeat_key="idempotency_key")
        posted = make_conversion(decision, self._edge.settings, now_ms)
        claim = IdempotencyClaim(
            _post_digest(post, posted.fingerprint), posted.conversion.conversion_id
        )
        valid_claim = await self._claim(
            idempotency_key, key, claim, is_known_by_order=_is_known_by_order(decision)
        )
        # A former release claimed by the content's digest.
        known = (claim.post_digest, _post_digest(post, former_fingerprint(posted.content)))
        if valid_claim.post_digest not in known:
            message = "was used for another body within 24 hours"
            raise Rejected(Reason.idempotency_key_reused, message, field=HEADER)
        if valid_claim.conversion_id == claim.conversion_id:
            return await self._publish(decision, posted, now_ms)
        stored = await find_reservation(
            self._edge.redis, self._edge.settings.shards, valid_claim.conversion_id
        )
        if isinstance(stored, StoredReservation):
            state = stored.reservation.state
            return 200, answer(state.first or state, duplicate=True)
        # The claimant never published it, or its order was taken.
        posted = make_conversion(decision, self._edge.settings, now_ms, valid_claim.conversion_id)
        return await self._publish(decision, posted, now_ms)

    async def _publish(
        self, decision: Decision, posted: PostedConversion, now_ms: int
    ) -> tuple[int, bytes]:
        pending = await self._intake.publish(decision, posted, now_ms)
        status, body = await self._intake.answer(pending)
        if status == 201 and pending.existed_before(await pending.outcomes):
            # Another post under the same key was quicker.
            return 200, answer(pending.posted.state, duplicate=True)
        return status, body

    async def _claim(
        self, idempotency_key: str, key: ApiKey, claim: IdempotencyClaim, *, is_known_by_order: bool
    ) -> IdempotencyClaim:
        """Returns the valid claim; without Redis an order may serve as one, else RedisError."""
        # A key that is bound to a campaign must not use up the account's idempotency keys.
        owner = f"{key.dataset}/{key.campaign}" if key.campaign else key.dataset
        text = f"{owner}:{idempotency_key}"
        redis_key = hashed_key(redis_keys.idempotency, text, self._edge.settings.shards)
        encoded = msgspec.json.encode(claim)
        try:
            valid_claim = await self._claims.claim(redis_key, encoded, keep_seconds=_CLAIM_SECONDS)
        except RedisError:
            if is_known_by_order:
                return claim
            raise
        return msgspec.json.decode(valid_claim, type=IdempotencyClaim)


def _is_known_by_order(decision: Decision) -> bool:
    """Returns whether a post that is sent again is known as the same by its order alone."""
    has_instant = decision.post.timestamp is not None
    return decision.post.order_id is not None and (
        has_instant or decision.duplicates in ("refuse", "update")
    )


def _post_digest(post: ConversionPost, fingerprint: str) -> str:
    """Hashes a post: equal for equal posts."""
    text = f"{post.event}\n{len(post.order_id or '')}\n{post.order_id}\n{fingerprint}"
    return blake2s(text.encode(), digest_size=16).hexdigest()
