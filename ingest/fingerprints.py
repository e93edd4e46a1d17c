"""Hashes the content of posts, to know one that is sent again.

Whoever reads a stored fingerprint must not be able to test guesses of the e-mail address in the
post: it has a key. Former releases stored the digest of the content itself.
"""

from datetime import UTC
from hashlib import blake2s

import msgspec

from ingest.conversions.body import ConversionPost, decode_raw, keyed_hash

# No former fingerprint begins so (`publish_conversions.lua`).
_KEYED = "k"
_encode_canonical = msgspec.json.Encoder(order="deterministic").encode
_unkeyed_hash = blake2s(digest_size=16)


def content_digest(post: ConversionPost, order_value_minor: int, currency: str) -> str:
    """Hashes a post's content, equal for equal content however its JSON is written.

    It has no key: never to be stored or shown.
    """
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
    hashed = _unkeyed_hash.copy()
    hashed.update(_encode_canonical(canonical_fields))
    return hashed.hexdigest()


def fingerprint(content: str, key: bytes) -> str:
    """Hashes the digest of a post's content with a key; only this is stored."""
    hashed = keyed_hash(key).copy()
    hashed.update(content.encode())
    return _KEYED + hashed.hexdigest()
