"""Signs and verifies webhooks: Standard Webhooks, and `X-LinkJolt-Signature`.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256

from linkjolt.registry.whole_numbers import parse_whole_number

PREFIX = "whsec_"
_SECRET_BYTES = 32
_TOLERANCE_SECONDS = 300


def make_secret() -> str:
    """Makes a signing secret; show it once."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def sign(webhook_id: str, at_seconds: int, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """Builds the headers of a delivery, signed with each of the secrets."""
    timed = [_hex_signature(key, at_seconds, body) for key in keys]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at_seconds),
        "webhook-signature": " ".join(
            _standard_signature(key, webhook_id, at_seconds, body) for key in keys
        ),
        "X-LinkJolt-Signature": ",".join([f"t={at_seconds}", *(f"v1={text}" for text in timed)]),
    }


def _standard_signature(key: str, webhook_id: str, at_seconds: int, body: bytes) -> str:
    signed = f"{webhook_id}.{at_seconds}.".encode() + body
    raw = base64.b64decode(key.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(raw, signed, sha256)).decode()


def _hex_signature(key: str, at_seconds: int, body: bytes) -> str:
    return hmac.digest(key.encode(), f"{at_seconds}.".encode() + body, sha256).hex()


def verification_error(
    headers: Mapping[str, str], body: bytes, key: str, now_seconds: float
) -> str | None:
    """Returns the fault of a received delivery; None if both signatures are good.

    `headers` by lower-case names.
    """
    at_seconds = parse_whole_number(headers.get("webhook-timestamp", ""))
    try:
        base64.b64decode(key.removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error):
        at_seconds = None
    if at_seconds is None:
        return "no webhook-timestamp, or a secret that is none"
    if abs(now_seconds - at_seconds) > _TOLERANCE_SECONDS:
        return "the timestamp is over 5 minutes off"
    expected = _standard_signature(key, headers.get("webhook-id", ""), at_seconds, body)
    received = headers.get("webhook-signature", "").split(" ")
    if not any(hmac.compare_digest(expected, signature) for signature in received):
        return "no webhook-signature is by this secret"
    parts = headers.get("x-linkjolt-signature", "").split(",")
    signed = f"v1={_hex_signature(key, at_seconds, body)}"
    if f"t={at_seconds}" not in parts or not any(hmac.compare_digest(signed, p) for p in parts):
        return "no X-LinkJolt-Signature is by this secret"
    return None
