"""Authenticates requests by API key and checks the scopes they need."""

from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.types import Scope

from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.storage.fair_slots import Asker, ask_for
from linkjolt.web import requests


def bearer_secret(scope: Scope) -> str:
    """Returns the secret of `Authorization: Bearer ...` (RFC 6750); Rejected if missing."""
    scheme, _, secret = requests.header(scope, b"authorization").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Rejected(Reason.unauthorized, "send Authorization: Bearer and an API key")
    return secret.strip()


async def identify(secret: str, directory: Directory) -> ApiKey:
    """Returns the valid key of a secret, for which the current task works from now on.

    Rejected for unknown, revoked and expired ones.
    """
    key = await directory.key(secret)
    if key is None:
        raise Rejected(Reason.unauthorized, "the API key is not valid")
    if key.expires_at is not None and key.is_expired(datetime.now(UTC)):
        raise Rejected(Reason.unauthorized, "the API key has expired")
    ask_for(Asker({key.number}))
    return key


def require_scope(key: ApiKey, scope: str) -> None:
    """Raises Rejected, naming the scope, unless the key has it."""
    if not key.allows(scope):
        raise Rejected(Reason.forbidden, f"the API key lacks the scope {scope}")


def require_any_scope(key: ApiKey, scopes: Sequence[str]) -> None:
    """Raises Rejected, naming the scopes, unless the key has one of them."""
    if not any(key.allows(scope) for scope in scopes):
        raise Rejected(Reason.forbidden, f"the API key lacks the scope {' or '.join(scopes)}")


def require_declared(key: ApiKey, scopes: str, *, live_only: bool) -> None:
    """Raises Rejected unless the key has what an operation declares (`Operation.scope`)."""
    for needed in scopes.split(" and ") if scopes else ():
        require_any_scope(key, needed.split(" or "))
    if live_only and key.test:
        message = "a test key changes nothing that is live: use a live key"
        raise Rejected(Reason.forbidden, message)


async def authorize(scope: Scope, directory: Directory, required_scope: str) -> ApiKey:
    """Returns the valid key of an ASGI request with the scope; RedisError passes through."""
    key = await identify_sender(scope, directory)
    require_scope(key, required_scope)
    return key


async def identify_sender(scope: Scope, directory: Directory) -> ApiKey:
    """Returns the valid key of an ASGI request, whose body may take its time from then on."""
    key = await identify(bearer_secret(scope), directory)
    scope[requests.VERIFIED] = True
    return key


async def authorize_request(request: Request, directory: Directory, scope: str) -> ApiKey:
    """Authorizes a Starlette request."""
    return await authorize(request.scope, directory, scope)
