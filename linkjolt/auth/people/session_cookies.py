"""Carries sessions in cookies, and keeps pages of other sites from using them."""

from urllib.parse import urlsplit

import msgspec
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from linkjolt.auth.people.sessions import OpenSession, Sessions
from linkjolt.clicks.client_address import AddressReader
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import User
from linkjolt.web.requests import VERIFIED, header

_COOKIE = "linkjolt_session"
# Browsers take this name over https only, and for the whole host alone: no other host may set it.
_SECURE_COOKIE = f"__Host-{_COOKIE}"
CSRF_HEADER = "X-CSRF-Token"
# RFC 9110, 9.2.1.
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Of a request's scope, on listeners that people sign in to.
_SCOPE_KEY = "linkjolt.session_cookies"


class SessionCookies(msgspec.Struct, frozen=True):
    """Reads and sets the cookies of one listener; `public_url` is '' where `Host` says it."""

    sessions: Sessions
    addresses: AddressReader
    public_url: str = ""

    async def find(self, scope: Scope) -> OpenSession | None:
        """Returns the session of a cookie; None where another credential is sent, or none.

        Rejected for a session that has ended, and for a request that another site may have caused.
        """
        if header(scope, b"authorization"):
            return None
        token = cookie_parser(header(scope, b"cookie")).get(self._name(scope))
        if not token:
            return None
        unsafe = scope["method"] not in _SAFE_METHODS
        if unsafe:
            self.check_origin(scope, required=True)
        session = await self.sessions.find(token)
        if session is None:
            raise Rejected(Reason.unauthorized, "the session has ended: sign in again")
        if unsafe:
            _check_token(scope, session)
        scope[VERIFIED] = True
        return session

    async def renew(self, scope: Scope, user: User) -> OpenSession:
        """Opens a session under a new token, and ends the one that the request may have."""
        if former := cookie_parser(header(scope, b"cookie")).get(self._name(scope)):
            await self.sessions.end(former)
        return await self.sessions.open(user)

    def check_origin(self, scope: Scope, *, required: bool = False) -> None:
        """Rejected where a browser says that a page of another origin causes the request.

        Programs say nothing, which is refused where it is `required`.
        """
        own = self._own_origin(scope)
        origin = header(scope, b"origin", "" if required else own)
        site = header(scope, b"sec-fetch-site", "same-origin")
        if site != "same-origin" or origin.lower() != own:
            message = f"the request does not come from a page of {own}, the dashboard's address"
            raise Rejected(Reason.forbidden, message)

    def _own_origin(self, scope: Scope) -> str:
        if self.public_url:
            parts = urlsplit(self.public_url)
            return f"{parts.scheme}://{parts.netloc}".lower()
        scheme = "https" if self.is_secure(scope) else "http"
        return f"{scheme}://{header(scope, b'host')}".lower()

    def is_secure(self, scope: Scope) -> bool:
        """Returns whether the browser speaks https, to this listener or to a trusted proxy."""
        return scope["scheme"] == "https" or self.public_url.startswith("https:")

    def set(self, response: Response, scope: Scope, session: OpenSession) -> None:
        """Sets the cookie of a session, until this ends at the latest."""
        response.set_cookie(
            self._name(scope),
            session.token,
            max_age=self.sessions.max_seconds,
            secure=self.is_secure(scope),
            httponly=True,
            samesite="strict",
        )

    def clear(self, response: Response, scope: Scope) -> None:
        response.delete_cookie(
            self._name(scope),
            secure=self.is_secure(scope),
            httponly=True,
            samesite="strict",
        )

    def _name(self, scope: Scope) -> str:
        return _SECURE_COOKIE if self.is_secure(scope) else _COOKIE


def _check_token(scope: Scope, session: OpenSession) -> None:
    if not session.is_csrf_token(header(scope, CSRF_HEADER.lower().encode())):
        message = f"send {CSRF_HEADER} with the csrf_token of GET /v1/session"
        raise Rejected(Reason.forbidden, message)


class WithSessions:
    """Lets people sign in to an application: `find_session` finds the sessions of its requests."""

    def __init__(self, app: ASGIApp, cookies: SessionCookies) -> None:
        self._app = app
        self._cookies = cookies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_SCOPE_KEY] = self._cookies
        await self._app(scope, receive, send)


async def find_session(scope: Scope) -> OpenSession | None:
    """Returns the session of a request; None where the listener has none, or the request.

    As `SessionCookies.find`.
    """
    cookies: SessionCookies | None = scope.get(_SCOPE_KEY)
    return await cookies.find(scope) if cookies else None
