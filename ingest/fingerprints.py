"""Hashes the content of posts, to know one that is sent again.

Whoever reads a stored fingerprint must not be able to test guesses of the e-mail address in the
post: it has a key. Former releases stored the digest of the content itself.
"""

from datetime import UTC
from functools import lru_cache
from hashlib import blake2s

import msgspec

from ingest.conversions.body import ConversionPost, decode_raw

# No former fingerprint begins so (`publish_conversions.lua`).
_KEYED = "k"
_encode_canonical = msgspec.json.Encoder(order="deterministic").encode


def content_of(post: ConversionPost, order_value_minor: int, currency: str) -> bytes:
    """Returns a post's content, equal for equal content however its JSON is written."""
    email, timestamp = post.customer_email, post.timestamp
    canonical_fields = (
        post.tracking_code,
        post.click_id,
        post.campaign_id,
        post.affiliate_id,
        order_value_minor,
        currency,
        email.strip().lower() if email else "",
        post.customer_id,
        post.status,
        timestamp and timestamp.astimezone(UTC),
        post.items and decode_raw(post.items),
        post.coupon_code,
        post.metadata and decode_raw(post.metadata),
        (post.adv1, post.adv2, post.adv3, post.adv4, post.adv5),
    )
    if post.click_ids:
        # At the end, and only where there are any, so that stored fingerprints stay valid.
        canonical_fields = (*canonical_fields, post.click_ids)
    return _encode_canonical(canonical_fields)


def fingerprint(content: bytes, customer_key: bytes) -> str:
    """Hashes a post's content with a key derived from that of customers."""
    hashed = _keyed_hash(customer_key).copy()
    hashed.update(content)
    return _KEYED + hashed.hexdigest()


def former_fingerprint(content: bytes) -> str:
    """Hashes a post's content as former releases did: to compare, never to be stored or shown."""
    return blake2s(content, digest_size=16).hexdigest()


@lru_cache(maxsize=4)
def _keyed_hash(customer_key: bytes) -> "blake2s":
    # Hashes the key's block once, not for every post.
    key = blake2s(key=customer_key, person=b"posts").digest()
    return blake2s(key=key, digest_size=16)
