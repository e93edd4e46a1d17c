"""Answers a session: its person, what the role allows, and the token that pages send."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec
from starlette.responses import Response
from starlette.types import Scope

from linkjolt.api.access.users import EXAMPLE as USER_EXAMPLE
from linkjolt.api.access.users import UserAnswer, user_answer
from linkjolt.auth.audit_sources import source_of_request
from linkjolt.auth.people.login_throttle import LoginThrottle
from linkjolt.auth.people.one_time_links import OneTimeLinks
from linkjolt.auth.people.passwords import Passwords
from linkjolt.auth.people.roles import ROLE_SCOPES, key_of
from linkjolt.auth.people.session_cookies import SessionCookies, find_session
from linkjolt.auth.people.sessions import OpenSession
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import User
from linkjolt.registry.store import Registry
from linkjolt.web.forms import Instant
from linkjolt.web.requests import json_response

Outcome = Literal["done", "refused", "bounded"]


class SignInParts(msgspec.Struct, frozen=True):
    """Everything that lets people in, of one listener; `note` counts how a try to sign in ended."""

    registry: Registry
    cookies: SessionCookies
    passwords: Passwords
    throttle: LoginThrottle
    links: OneTimeLinks
    note: Callable[[Outcome], None]

    def registry_of(self, scope: Scope, user: User, operation: str, status: int = 201) -> Registry:
        """Returns the registry for what a person writes by an operation."""
        addresses = self.cookies.addresses
        source = source_of_request(scope, key_of(user), operation, status, addresses)
        return self.registry.written_by(source)


class SessionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A session; `csrf_token` goes as `X-CSRF-Token` with whatever changes anything."""

    user: UserAnswer
    has_password: bool
    scopes: tuple[str, ...]
    csrf_token: str
    expires_at: Instant


class RecoveryCodesAnswer(SessionAnswer, frozen=True, kw_only=True):
    """The session that goes on, and codes for who loses the app: each works once."""

    recovery_codes: tuple[str, ...]


def session_answer(session: OpenSession) -> SessionAnswer:
    user = session.user
    return SessionAnswer(
        user=user_answer(user),
        has_password=bool(user.password),
        scopes=ROLE_SCOPES[user.role],
        csrf_token=session.csrf_token,
        expires_at=datetime.fromtimestamp(session.ends_ms / 1_000, UTC),
    )


async def require_session(scope: Scope) -> OpenSession:
    """Returns the session of a request; Rejected where it has none."""
    session = await find_session(scope)
    if session is None:
        raise Rejected(Reason.unauthorized, "sign in first: this is about a session, not a key")
    return session


async def open_session(
    parts: SignInParts, scope: Scope, user: User, codes: tuple[str, ...] = ()
) -> Response:
    """Opens a session under a new token, which the answer's cookie holds; any other one ends."""
    session = await parts.cookies.renew(scope, user)
    answer = session_answer(session)
    if codes:
        fields = msgspec.structs.asdict(answer)
        answer = RecoveryCodesAnswer(recovery_codes=codes, **fields)
    response = json_response(answer, 201)
    parts.cookies.set(response, scope, session)
    return response


EXAMPLE = {
    "user": {
        **USER_EXAMPLE,
        "status": "active",
        "joined_at": "2026-05-04T11:00:00Z",
        "signed_in_at": "2026-05-10T23:00:00Z",
    },
    "has_password": True,
    "scopes": ["links:read", "reports:read"],
    "csrf_token": "5f0c2a9be1d34708…",
    "expires_at": "2026-05-11T11:00:00Z",
}
