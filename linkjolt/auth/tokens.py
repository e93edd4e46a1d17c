"""Signs and verifies the access tokens of OAuth clients, without asking any server.

A token is `lj_token_` and base64url of: the version of the format (1 byte), the number of its key
(2 bytes), the claims in MessagePack, and HMAC-SHA256 of a context and all bytes before it. The
version alone decides by which algorithm it is verified: no token can choose a weaker one.
"""

import base64
import binascii
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from linkjolt.datasets import Account
from linkjolt.directory.clients import ClientDirectory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey, OAuthClient, RevokedToken, public_id
from linkjolt.registry.keyring import TokenKey

PREFIX = "lj_token_"
LIFETIME_MAX_SECONDS = 3_600
_VERSION = 1
_HEAD_BYTES = 3
_MAC_BYTES = 32
# What else these keys may ever sign is never taken for a token.
_CONTEXT = b"linkjolt access token\0"
# A token with every scope is far shorter; longer texts are not decoded.
_SHAPE = re.compile(r"[0-9A-Za-z_-]{64,2000}")
# An edge without Redis signs by the former key for longer.
_FORMER_KEY_SIGNS_MS = 86_400_000
_ID_BYTES = 9
_NO_KEYS = "the keys of access tokens cannot be read now"


class AccessToken(msgspec.Struct, frozen=True, array_like=True):
    """The claims of a token; `expires_at` is in seconds, `scopes` are joined by spaces."""

    id: bytes
    client: int
    account: Account
    test: bool
    issued_ms: int
    expires_at: int
    scopes: str

    @property
    def text_id(self) -> str:
        return base64.urlsafe_b64encode(self.id).decode()

    def revoked(self) -> RevokedToken:
        """Returns the token as it is listed among the revoked ones of its client."""
        return RevokedToken(self.text_id, self.issued_ms, self.expires_at)


class TokenHolder(ApiKey, frozen=True, kw_only=True):
    """The key of a request with a token: it has the number of the client and is never stored."""

    @property
    def id(self) -> str:
        return public_id("client", self.number)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AccessToken)


def is_token(secret: str) -> bool:
    """Returns True for a text that is meant as an access token."""
    return secret.startswith(PREFIX)


def issue_token(
    client: OAuthClient, scopes: Sequence[str], now_ms: int, lifetime_seconds: int
) -> AccessToken:
    """Makes the claims of a new token, which expires no later than its client."""
    expires_at = now_ms // 1_000 + min(lifetime_seconds, LIFETIME_MAX_SECONDS)
    if client.expires_at is not None:
        expires_at = min(expires_at, int(client.expires_at.timestamp()))
    return AccessToken(
        id=secrets.token_bytes(_ID_BYTES),
        client=client.number,
        account=client.account,
        test=client.test,
        issued_ms=now_ms,
        expires_at=expires_at,
        scopes=" ".join(scopes),
    )


def sign_token(token: AccessToken, keys: Sequence[TokenKey]) -> str:
    """Signs a token by the newest key that has begun to sign; Rejected without any key."""
    for key in keys:
        if key.since_ms <= token.issued_ms:
            signed = bytes([_VERSION]) + key.number.to_bytes(2) + _encoder.encode(token)
            signed += _mac(key, signed)
            return PREFIX + base64.urlsafe_b64encode(signed).rstrip(b"=").decode()
    raise Rejected(Reason.unavailable, _NO_KEYS)


def verify_token(text: str, keys: Sequence[TokenKey]) -> AccessToken | None:
    """Returns the claims of a genuine token, expired ones too; None for any other text."""
    decoded = _decode(text)
    if decoded is None or decoded[0] != _VERSION:
        return None
    signed, mac = decoded[:-_MAC_BYTES], decoded[-_MAC_BYTES:]
    number = int.from_bytes(signed[1:_HEAD_BYTES])
    replaced_ms = None
    for key in keys:
        if key.number == number:
            break
        replaced_ms = key.since_ms
    else:
        return None
    if not hmac.compare_digest(mac, _mac(key, signed)):
        return None
    token = _decoder.decode(signed[_HEAD_BYTES:])
    # Whoever finds a former key, in a backup, can sign nothing by it.
    if replaced_ms is not None and token.issued_ms > replaced_ms + _FORMER_KEY_SIGNS_MS:
        return None
    is_short = token.expires_at * 1_000 <= token.issued_ms + LIFETIME_MAX_SECONDS * 1_000
    return token if is_short else None


async def identify_token(text: str, clients: ClientDirectory) -> ApiKey:
    """Returns the key of a token that is genuine, valid now and not revoked; else Rejected."""
    if not clients.token_keys:
        raise Rejected(Reason.unavailable, _NO_KEYS)
    token = verify_token(text, clients.token_keys)
    if token is None:
        raise Rejected(Reason.unauthorized, "the access token is not valid")
    if token.expires_at <= time.time():
        raise Rejected(Reason.unauthorized, "the access token has expired")
    known = await clients.client(token.client)
    # In a Redis that was restored to an earlier state, a number may be another account's now.
    if not known or known.entry.deleted_at or known.entry.account != token.account:
        raise Rejected(Reason.unauthorized, "the client of the access token was deleted")
    if await clients.is_disabled(token.account):
        raise Rejected(Reason.unauthorized, "the account of the access token is disabled")
    if known.has_revoked(token.text_id, token.issued_ms):
        raise Rejected(Reason.unauthorized, "the access token was revoked")
    return TokenHolder(
        number=token.client,
        account=token.account,
        name=known.entry.name,
        scopes=tuple(token.scopes.split(" ")),
        digest="",
        hint=PREFIX,
        expires_at=datetime.fromtimestamp(token.expires_at, UTC),
        test=token.test,
        created_at=datetime.fromtimestamp(token.issued_ms / 1_000, UTC),
    )


def _mac(key: TokenKey, signed: bytes) -> bytes:
    return hmac.digest(key.secret, _CONTEXT + signed, "sha256")


def _decode(text: str) -> bytes | None:
    """Decodes the one spelling of a token; None for other texts."""
    body = text.removeprefix(PREFIX)
    if len(body) == len(text) or not _SHAPE.fullmatch(body):
        return None
    try:
        decoded = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except binascii.Error:
        return None
    # Bits beyond the last byte could be any.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != body:
        return None
    return decoded if len(decoded) > _HEAD_BYTES + _MAC_BYTES else None
