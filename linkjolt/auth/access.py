"""Who may do what: API keys from requests, and the scopes they need."""

from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.types import Scope

from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.web import requests


def bearer(scope: Scope) -> str:
    """The secret of `Authorization: Bearer …` (RFC 6750); Rejected where there is none."""
    scheme, _, secret = requests.header(scope, b"authorization").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Rejected(Reason.unauthorized, "send Authorization: Bearer and an API key")
    return secret.strip()


async def identify(secret: str, directory: Directory) -> ApiKey:
    """The valid key of a secret; Rejected for any other, unknown and revoked ones alike."""
    key = await directory.key(secret)
    if key is None:
        raise Rejected(Reason.unauthorized, "the API key is not valid")
    if key.expires_at is not None and key.expired(datetime.now(UTC)):
        raise Rejected(Reason.unauthorized, "the API key has expired")
    return key


def require_scope(key: ApiKey, scope: str) -> None:
    """Rejected, naming the scope, unless the key has it."""
    if not key.allows(scope):
        raise Rejected(Reason.forbidden, f"the API key lacks the scope {scope}")


def require_any(key: ApiKey, scopes: Sequence[str]) -> None:
    """Rejected, naming them, unless the key has one of the scopes."""
    if not any(key.allows(scope) for scope in scopes):
        raise Rejected(Reason.forbidden, f"the API key lacks the scope {' or '.join(scopes)}")


async def admit(scope: Scope, directory: Directory, needed: str) -> ApiKey:
    """The key of an ASGI request, valid and with the needed scope; RedisError passes through."""
    key = await identify(bearer(scope), directory)
    require_scope(key, needed)
    return key


async def authenticate(request: Request, directory: Directory, scope: str) -> ApiKey:
    """`admit`, for a request."""
    return await admit(request.scope, directory, scope)
