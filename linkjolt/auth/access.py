"""Authenticates requests by API key or access token and checks the scopes they need."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import cast

from starlette.requests import Request
from starlette.types import Scope

from linkjolt.auth import metrics
from linkjolt.auth.allowed_networks import is_inside
from linkjolt.auth.people.roles import key_of
from linkjolt.auth.people.session_cookies import find_session
from linkjolt.auth.rate_limits import RateLimits
from linkjolt.auth.tokens import identify_token, is_token
from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.storage.fair_slots import Asker, ask_for
from linkjolt.web import requests
from linkjolt.web.openapi import Operation


def bearer_secret(scope: Scope) -> str:
    """Returns the secret of `Authorization: Bearer ...` (RFC 6750); Rejected if missing."""
    scheme, _, secret = requests.header(scope, b"authorization").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Rejected(Reason.unauthorized, "send Authorization: Bearer and an API key")
    return secret.strip()


async def identify(secret: str, directory: Directory, scope: Scope) -> ApiKey:
    """Returns the valid key of a secret, for which the current task works from now on.

    An access token of an OAuth client counts as a key with the token's scopes and expiry. Rejected
    for unknown, revoked and expired ones, and for clients in no allowed network.
    """
    if is_token(secret):
        key = await identify_token(secret, directory.clients)
    else:
        key = await directory.key(secret)
    if key is None or not is_allowed_from(key, directory, scope):
        # One text for both: a thief learns not whether the key is worth a try elsewhere.
        message = "the API key is not valid, or not valid from this address"
        raise Rejected(Reason.unauthorized, message)
    if key.expires_at is not None and key.is_expired(datetime.now(UTC)):
        raise Rejected(Reason.unauthorized, "the API key has expired")
    directory.key_uses.note(key.number)
    ask_for(Asker({key.holder}))
    return key


def is_allowed_from(key: ApiKey, directory: Directory, scope: Scope) -> bool:
    """Returns whether the key may be used by the client of an ASGI request."""
    if not key.allowed_networks:
        return True
    allowed = is_inside(directory.addresses.read(scope), key.allowed_networks)
    if not allowed:
        metrics.KEYS_REFUSED_BY_ADDRESS.inc()
    return allowed


def require_any_scope(key: ApiKey, scopes: Sequence[str], *, narrows: bool = False) -> None:
    """Raises Rejected, naming the scopes, unless the key has one of them.

    A key bound to an affiliate passes only where the caller narrows its answer to that.
    """
    for scope in scopes:
        if key.allows(scope):
            break
    else:
        raise Rejected(Reason.forbidden, f"the API key lacks the scope {' or '.join(scopes)}")
    if key.affiliate and not narrows:
        message = "the API key is bound to an affiliate, and this is not about one alone"
        raise Rejected(Reason.forbidden, message)


def require_declared(key: ApiKey, operation: Operation) -> None:
    """Raises Rejected unless the key has what an operation declares."""
    for needed in operation.scope.split(" and ") if operation.scope else ():
        require_any_scope(key, needed.split(" or "), narrows=operation.narrows)
    if operation.live_only and key.test:
        message = "a test key changes nothing that is live: use a live key"
        raise Rejected(Reason.forbidden, message)


async def authorize(
    scope: Scope, directory: Directory, required_scope: str, *, narrows: bool = False
) -> ApiKey:
    """Returns the valid key of an ASGI request with the scope, or one of several (`a or b`).

    As `require_any_scope`; RedisError passes through.
    """
    key = await identify_sender(scope, directory)
    require_any_scope(key, required_scope.split(" or "), narrows=narrows)
    return key


async def identify_sender(scope: Scope, directory: Directory) -> ApiKey:
    """Returns the valid key of an ASGI request, whose body may take its time from then on.

    Rejected over the rate limits of the key and its account, and where an address fails too often.
    """
    key = await _identify_session(scope) or await _identify_bearer(scope, directory)
    if limits := rate_limits_of(scope):
        await limits.take(scope, key)
    return key


async def _identify_session(scope: Scope) -> ApiKey | None:
    """Returns the key that a person's session is, on listeners that people sign in to."""
    session = await find_session(scope)
    if session is None:
        return None
    key = key_of(session.user)
    ask_for(Asker({key.holder}))
    return key


async def identify_poster(scope: Scope, directory: Directory, required_scope: str) -> ApiKey:
    """Returns the valid key of an ASGI request that posts conversions, as `authorize`."""
    key = _identify_plain(scope, directory) or await _identify_bearer(scope, directory)
    if key.affiliate or not key.allows(required_scope):
        require_any_scope(key, (required_scope,))
    limits = rate_limits_of(scope)
    if limits and limits.has_intake:
        await limits.take_post(scope, key)
    return key


def _identify_plain(scope: Scope, directory: Directory) -> ApiKey | None:
    """As `_identify_bearer` for most posts, at less cost; None where it must look closer.

    A post asks nothing of the warehouse, so that no turn there is its key's.
    """
    text = requests.header(scope, b"authorization")
    key = directory.cached_key(text[7:]) if text.startswith("Bearer ") else None
    if key is None or key.allowed_networks or key.expires_at is not None:
        return None
    scope[requests.VERIFIED] = True
    directory.key_uses.note(key.number)
    return key


async def take_post(scope: Scope, key: ApiKey) -> None:
    """Counts a posted conversion or a postback; Rejected over the limit of intake."""
    if limits := rate_limits_of(scope):
        await limits.take_post(scope, key)


async def _identify_bearer(scope: Scope, directory: Directory) -> ApiKey:
    try:
        return await identify_limited(bearer_secret(scope), scope, directory)
    except Rejected as refused:
        raise count_failure(scope, refused) from None


async def identify_limited(secret: str, scope: Scope, directory: Directory) -> ApiKey:
    """Returns the valid key of a secret; an address that fails too often costs no look-up."""
    limits = rate_limits_of(scope)
    # A token costs no look-up, and a long answer checks its key again.
    is_cheap = requests.VERIFIED in scope or is_token(secret)
    if limits and not is_cheap and directory.cached_key(secret) is None:
        limits.check_failures(scope, partial(directory.is_unknown_key, secret))
    key = await identify(secret, directory, scope)
    scope[requests.VERIFIED] = True
    return key


def count_failure(scope: Scope, refused: Rejected) -> Rejected:
    """Counts a refused authentication of the request's address; returns how it is answered.

    A key that ends during a long answer is no failure of its address.
    """
    limits = rate_limits_of(scope)
    is_first = requests.VERIFIED not in scope
    return limits.count_failure(scope, refused) if limits and is_first else refused


def rate_limits_of(scope: Scope) -> RateLimits | None:
    """Returns the rate limits of the listener that received the request."""
    return cast(RateLimits | None, scope.get(requests.RATE_LIMITS))


async def authorize_request(
    request: Request, directory: Directory, scope: str, *, narrows: bool = False
) -> ApiKey:
    """Authorizes a Starlette request."""
    return await authorize(request.scope, directory, scope, narrows=narrows)
