"""Verifies the signatures of postbacks: HMAC-SHA256 over all of a call; pure."""

import hmac
import re
from datetime import datetime
from hashlib import blake2s, sha256
from typing import Literal
from urllib.parse import parse_qsl

import msgspec

from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey, parse_public_id, public_id
from linkjolt.registry.whole_numbers import parse_whole_number

_SIGNED_SECONDS = 300
_SIGNATURE = re.compile(rb"(?s)(.*)&sig=([0-9a-fA-F]{64})\Z")
SignatureForm = Literal["call", "query"]


class SignedQuery(msgspec.Struct, frozen=True):
    """A signed query: the key's number, the instant in seconds, the text before `&sig=`."""

    key_number: int
    signed_at: int
    text: bytes
    signature: str


class SignedCall(msgspec.Struct, frozen=True):
    """What a signature covers beside the query."""

    method: str
    path: str
    body: bytes = b""


def read_signed_query(query: bytes) -> SignedQuery | None:
    """Parses a signed query; None where it is unsigned, Rejected where it is malformed."""
    if b"sig=" not in query:
        return None
    match = _SIGNATURE.fullmatch(query)
    parameters = dict(parse_qsl(match[1].decode("latin-1"))) if match else {}
    key_number = parse_public_id("key", parameters.get("key_id", ""))
    signed_at = parse_whole_number(parameters.get("ts", ""))
    if match is None or key_number is None or signed_at is None:
        message = "goes last, after key_id=key_... and ts=, in 64 hexadecimal digits"
        raise Rejected(Reason.unauthorized, message, field="sig")
    return SignedQuery(key_number, signed_at, match[1], match[2].decode().lower())


def signature_digest(query: bytes) -> str:
    """Returns a digest that is equal only for the same signed call sent again, '' if unsigned."""
    signed = read_signed_query(query)
    if signed is None:
        return ""
    text = f"{signed.key_number} {signed.signature}"
    return blake2s(text.encode(), digest_size=16, person=b"signed").hexdigest()


def check_recent(signed: SignedQuery, now_seconds: float) -> None:
    """Rejected unless the signature was made within five minutes."""
    if abs(now_seconds - signed.signed_at) > _SIGNED_SECONDS:
        raise Rejected(Reason.unauthorized, "is over 5 minutes off", field="ts")


def verify_signature(
    signed: SignedQuery, key: ApiKey, call: SignedCall, now: datetime
) -> SignatureForm:
    """Verifies a signature by the key and returns its form; else Rejected.

    `query` is the form of the first release, by the key's digest: it is accepted for one release
    more, and only for a GET, as it covers neither the method nor a body.
    """
    if key.signing_secret and _is_by(key.signing_secret, signed_text(signed, call), signed):
        return "call"
    by_digest = call.method == "GET" and not call.body
    if by_digest and any(_is_by(one, signed.text, signed) for one in key.digests(now)):
        return "query"
    message = "is not by this key"
    if not key.signing_secret:
        path = f"/v1/keys/{public_id('key', key.number)}/signing-secret"
        message += f", which has no signing secret yet: POST {path} makes one"
    raise Rejected(Reason.unauthorized, message, field="sig")


def signed_text(signed: SignedQuery, call: SignedCall) -> bytes:
    """Returns the text that a signature covers."""
    lines = (str(signed.signed_at), call.method, call.path)
    return b"\n".join(
        (*(line.encode() for line in lines), signed.text, sha256(call.body).hexdigest().encode())
    )


def _is_by(secret: str, text: bytes, signed: SignedQuery) -> bool:
    return hmac.compare_digest(
        hmac.new(secret.encode(), text, sha256).hexdigest(), signed.signature
    )
