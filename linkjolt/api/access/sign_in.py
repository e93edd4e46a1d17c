"""`/v1/session`: people sign in by password or by a one-time link, and sign out."""

import time
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkjolt.api.access.session_answers import (
    EXAMPLE,
    SessionAnswer,
    SignInParts,
    open_session,
    require_session,
    session_answer,
)
from linkjolt.auth.people.login_throttle import Attempt, attempt
from linkjolt.auth.people.one_time_links import FollowedLink, invalid_link
from linkjolt.auth.people.passwords import check_length, check_password, is_outdated
from linkjolt.auth.people.second_factor import use_code
from linkjolt.auth.refused_authentications import REFUSED_ACCOUNT
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.accounts import may_sign_in
from linkjolt.registry.checks import check_email, check_name
from linkjolt.registry.entries import User, public_id
from linkjolt.registry.store import Registry
from linkjolt.web.collections import body_of
from linkjolt.web.forms import Email, Name
from linkjolt.web.openapi import Operation, of
from linkjolt.web.requests import json_response

PATH = "/v1/session"
# Longer ones are refused by their bytes, which a form cannot count.
Password = Annotated[str, Meta(max_length=1_024)]
Code = Annotated[str, Meta(max_length=64)]
Token = Annotated[str, Meta(max_length=128)]


class SignInForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's credentials; `code` is of the authenticator app, or a recovery code."""

    email: Email
    password: Password
    code: Code = ""


class OneTimeLinkForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The token of a one-time link, and the password that is set by it.

    The link of the first start needs none. Who has no `email` yet may set it; who has codes needs
    one.
    """

    token: Token
    password: Password | None = None
    name: Name | None = None
    email: Email | None = None
    code: Code = ""


class SignIn:
    """The routes by which sessions begin and end."""

    def __init__(self, parts: SignInParts) -> None:
        self._parts = parts

    def routes(self) -> list[BaseRoute]:
        return [
            Route(PATH, self._session, methods=["POST", "GET", "DELETE"]),
            Route("/v1/sessions", self.sign_out_everywhere, methods=["DELETE"]),
            Route(f"{PATH}/link", self.follow_link, methods=["POST"]),
        ]

    async def _session(self, request: Request) -> Response:
        match request.method:
            case "POST":
                return await self.sign_in(request)
            case "DELETE":
                return await self.sign_out(request)
            case _:
                return json_response(session_answer(await require_session(request.scope)))

    async def sign_in(self, request: Request) -> Response:
        """Opens a session; every refusal of credentials is the same, and takes as long."""
        self._parts.cookies.check_origin(request.scope)
        form = await body_of(request, SignInForm)
        check_length(form.password)
        email = form.email.strip().lower()
        made = attempt(address=self._address(request), email=email)
        await self._count(made)
        user = await self._authenticated(request, email, form)
        if user is None:
            self._parts.note("refused")
            message = "the e-mail address, the password or the code is not right"
            raise Rejected(Reason.unauthorized, message)
        await self._parts.throttle.take_back(made)
        self._parts.note("done")
        return await open_session(self._parts, request.scope, user)

    async def _authenticated(self, request: Request, email: str, form: SignInForm) -> User | None:
        parts = self._parts
        user = await parts.registry.user_by_email(email) if email else None
        if user is not None:
            request.scope[REFUSED_ACCOUNT] = user.account
        may = user is not None and await may_sign_in(parts.registry.redis, user)
        stored = user.password if user and may else ""
        if not await parts.passwords.verify(stored, form.password) or user is None:
            return None
        fresh = await parts.passwords.hash(form.password) if is_outdated(stored) else stored

        def signed_in(current: User) -> User:
            if current.password != stored or not current.is_active:
                raise invalid_link()
            used = use_code(parts.registry, current, form.code, time.time())
            if used is None:
                raise invalid_link()
            return msgspec.structs.replace(used, password=fresh, signed_in_at=datetime.now(UTC))

        registry = parts.registry_of(request.scope, user, "signIn")
        try:
            return await registry.patch(User, user.account, user.number, signed_in)
        except Rejected as refused:
            if refused.reason in (Reason.unauthorized, Reason.not_found):
                return None
            raise

    async def sign_out(self, request: Request) -> Response:
        """Ends the session of the request."""
        session = await require_session(request.scope)
        user, parts = session.user, self._parts
        registry = parts.registry_of(request.scope, user, "signOut", 204)
        await registry.audit(user.account, public_id("user", user.number))
        await parts.cookies.sessions.end(session.token)
        return self._signed_out(request)

    async def sign_out_everywhere(self, request: Request) -> Response:
        """Ends every session of the person, on all listeners at once."""
        session = await require_session(request.scope)
        user = session.user
        registry = self._parts.registry_of(request.scope, user, "signOutEverywhere", 204)
        await registry.patch(User, user.account, user.number, ended_everywhere)
        return self._signed_out(request)

    def _signed_out(self, request: Request) -> Response:
        response = Response(status_code=204)
        self._parts.cookies.clear(response, request.scope)
        return response

    async def follow_link(self, request: Request) -> Response:
        """Sets the password of a one-time link's person, and opens a session."""
        parts = self._parts
        parts.cookies.check_origin(request.scope)
        form = await body_of(request, OneTimeLinkForm)
        made = attempt(address=self._address(request))
        await self._count(made)
        link = await parts.links.find(form.token)
        # Whatever is refused here leaves the link as it is.
        await self._check_link(link, form)
        password = await parts.passwords.hash(form.password) if form.password else ""
        await parts.links.use(form.token)
        await parts.throttle.take_back(made)

        def let_in(current: User) -> User:
            return _let_in(parts.registry, current, link, form, password)

        registry = parts.registry_of(request.scope, link.user, "useOneTimeLink")
        user = await registry.patch(User, link.user.account, link.user.number, let_in)
        parts.note("done")
        return await open_session(parts, request.scope, user)

    async def _check_link(self, link: FollowedLink, form: OneTimeLinkForm) -> None:
        if link.purpose == "first":
            return
        if form.password is None:
            raise Rejected(Reason.missing_field, "is required", field="password")
        check_password(form.password)
        if form.name is not None:
            check_name(form.name)
        await self._check_email(link.user, form)
        if link.user.totp and not link.removes_totp:
            await self._count(attempt(user=str(link.user.number)))
            if use_code(self._parts.registry, link.user, form.code, time.time()) is None:
                message = "is not right: send one of the authenticator app, or a recovery code"
                raise Rejected(Reason.invalid_field, message, field="code")

    async def _check_email(self, user: User, form: OneTimeLinkForm) -> None:
        email = check_email(form.email)
        if user.email:
            if form.email is not None and email != user.email:
                raise Rejected(Reason.invalid_field, "cannot be changed here", field="email")
            return
        if not email:
            raise Rejected(Reason.missing_field, "is required", field="email")
        if await self._parts.registry.user_by_email(email):
            raise Rejected(Reason.conflict, "is the address of another person", field="email")

    def _address(self, request: Request) -> str:
        return self._parts.cookies.addresses.read_network(request.scope).hex()

    async def _count(self, made: Attempt) -> None:
        try:
            await self._parts.throttle.count(made)
        except Rejected:
            self._parts.note("bounded")
            raise


def ended_everywhere(user: User) -> User:
    """Returns the person after all sessions and links ended."""
    return msgspec.structs.replace(user, epoch=user.epoch + 1)


def _let_in(
    registry: Registry, current: User, link: FollowedLink, form: OneTimeLinkForm, password: str
) -> User:
    """Returns a person after a link was used; Rejected where something changed meanwhile."""
    if current.epoch != link.user.epoch or not current.is_active:
        raise invalid_link()
    now = datetime.now(UTC)
    let_in = msgspec.structs.replace(
        ended_everywhere(current), joined_at=current.joined_at or now, signed_in_at=now
    )
    if link.purpose == "first":
        return let_in
    if link.removes_totp:
        let_in = without_second_factor(let_in)
    used = use_code(registry, let_in, form.code, time.time())
    if used is None:
        raise invalid_link()
    return msgspec.structs.replace(
        used,
        password=password,
        name=form.name or used.name,
        email=used.email or check_email(form.email),
    )


def without_second_factor(user: User) -> User:
    return msgspec.structs.replace(user, totp="", totp_pending="", totp_step=0, recovery_codes=())


_CREDENTIALS = {"email": "ann@shop.example", "password": "correct horse battery", "code": "492039"}
_SET_COOKIE = {201: ("Set-Cookie",)}
OPERATIONS = [
    Operation(
        id="signIn",
        tag="Sessions",
        method="POST",
        path=PATH,
        summary="Sign in.",
        description="Opens a session of a person, which a cookie holds. Every refusal of"
        " credentials is the same. Too many of them from an address or for a person are answered"
        " 429 for some minutes.",
        bodies=[of(SignInForm, example=_CREDENTIALS)],
        answers={201: of(SessionAnswer, example=EXAMPLE)},
        refusals=(401, 403, 429),
        texts={201: "Signed in."},
        headers=_SET_COOKIE,
    ),
    Operation(
        id="useOneTimeLink",
        tag="Sessions",
        method="POST",
        path=f"{PATH}/link",
        summary="Sign in by a one-time link.",
        description="Uses an invitation or a reset up: sets the person's password, ends all other"
        " sessions, and opens one.",
        bodies=[of(OneTimeLinkForm, example={"token": "…", "password": "correct horse battery"})],
        answers={201: of(SessionAnswer, example=EXAMPLE)},
        refusals=(401, 403, 409, 429),
        texts={201: "Signed in."},
        headers=_SET_COOKIE,
    ),
    Operation(
        id="getSession",
        tag="Sessions",
        method="GET",
        path=PATH,
        summary="Get the session of this request.",
        description="Returns the person, what the role allows, and the token that pages send.",
        by_session=True,
        scope="",
        answers={200: of(SessionAnswer, example=EXAMPLE)},
    ),
    Operation(
        id="signOut",
        tag="Sessions",
        method="DELETE",
        path=PATH,
        summary="Sign out.",
        description="Ends the session of this request.",
        by_session=True,
        scope="",
        answers={204: None},
        texts={204: "Signed out."},
    ),
    Operation(
        id="signOutEverywhere",
        tag="Sessions",
        method="DELETE",
        path="/v1/sessions",
        summary="Sign out everywhere.",
        description="Ends every session of the person, and links that were not used yet, at once.",
        by_session=True,
        scope="",
        answers={204: None},
        refusals=(409,),
        texts={204: "Signed out everywhere."},
    ),
]
