"""How a webhook is signed, and verified: Standard Webhooks, and `X-LinkJolt-Signature`.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256

PREFIX = "whsec_"
_SECRET_BYTES = 32
_TOLERANCE_SECONDS = 300


def make_secret() -> str:
    """A new signing secret; show it once."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def sign(webhook_id: str, at_seconds: int, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The headers of a delivery, signed by each of the secrets."""
    timed = [_hex(key, at_seconds, body) for key in keys]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at_seconds),
        "webhook-signature": " ".join(_standard(key, webhook_id, at_seconds, body) for key in keys),
        "X-LinkJolt-Signature": ",".join([f"t={at_seconds}", *(f"v1={text}" for text in timed)]),
    }


def _standard(key: str, webhook_id: str, at_seconds: int, body: bytes) -> str:
    signed = f"{webhook_id}.{at_seconds}.".encode() + body
    raw = base64.b64decode(key.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(raw, signed, sha256)).decode()


def _hex(key: str, at_seconds: int, body: bytes) -> str:
    return hmac.digest(key.encode(), f"{at_seconds}.".encode() + body, sha256).hex()


def why_not_verified(
    headers: Mapping[str, str], body: bytes, key: str, now_seconds: float
) -> str | None:
    """What is wrong with a delivery that came; None where both signatures are good.

    `headers` by lower-case names.
    """
    try:
        at_seconds = int(headers.get("webhook-timestamp", ""))
        base64.b64decode(key.removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error):
        return "no webhook-timestamp, or a secret that is none"
    if abs(now_seconds - at_seconds) > _TOLERANCE_SECONDS:
        return "the timestamp is over 5 minutes off"
    wanted = _standard(key, headers.get("webhook-id", ""), at_seconds, body)
    given = headers.get("webhook-signature", "").split(" ")
    if not any(hmac.compare_digest(wanted, one) for one in given):
        return "no webhook-signature is by this secret"
    parts = headers.get("x-linkjolt-signature", "").split(",")
    signed = f"v1={_hex(key, at_seconds, body)}"
    if f"t={at_seconds}" not in parts or not any(hmac.compare_digest(signed, p) for p in parts):
        return "no X-LinkJolt-Signature is by this secret"
    return None
