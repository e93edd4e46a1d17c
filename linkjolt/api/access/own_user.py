"""`/v1/session/user` and `/v1/session/totp`: people change what lets them in."""

import time
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkjolt.api.access.session_answers import (
    EXAMPLE,
    RecoveryCodesAnswer,
    SessionAnswer,
    SignInParts,
    open_session,
    require_session,
)
from linkjolt.api.access.sign_in import (
    PATH,
    Code,
    Password,
    ended_everywhere,
    without_second_factor,
)
from linkjolt.auth.people import second_factor
from linkjolt.auth.people.login_throttle import attempt
from linkjolt.auth.people.passwords import check_length, check_password
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.checks import check_email, check_name
from linkjolt.registry.entries import User
from linkjolt.web.collections import body_of
from linkjolt.web.forms import Email, Name
from linkjolt.web.openapi import Operation, of
from linkjolt.web.requests import json_response


class OwnUserPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes to oneself; another `email` or `password` needs the password of now."""

    name: Name | None = None
    email: Email | None = None
    password: Password | None = None
    current_password: Password | None = None


class PasswordForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password of now."""

    current_password: Password


class CodeForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code that the authenticator app shows."""

    code: Code


class NewTotpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A secret for the authenticator app, and the URI of its QR code; a code of it turns it on."""

    secret: str
    provisioning_uri: str


class OwnUser:
    """The routes by which people change their own password, address and second factor.

    A change ends all other sessions of the person, and goes on under a new token.
    """

    def __init__(self, parts: SignInParts) -> None:
        self._parts = parts

    def routes(self) -> list[BaseRoute]:
        return [
            Route(f"{PATH}/user", self.patch, methods=["PATCH"]),
            Route(f"{PATH}/totp", self.start_totp, methods=["POST"]),
            Route(f"{PATH}/totp/confirm", self.confirm_totp, methods=["POST"]),
            Route(f"{PATH}/totp/remove", self.remove_totp, methods=["POST"]),
        ]

    async def patch(self, request: Request) -> Response:
        """Changes name, e-mail address or password."""
        user = (await require_session(request.scope)).user
        form = await body_of(request, OwnUserPatch)
        if form.name is not None:
            check_name(form.name)
        email = user.email
        if form.email is not None and not (email := check_email(form.email)):
            raise Rejected(Reason.invalid_field, "is not an e-mail address", field="email")
        password = user.password
        if form.password is not None:
            check_password(form.password)
        if form.password is not None or email != user.email:
            await self._check_current(user, form.current_password)
        if form.password is not None:
            password = await self._parts.passwords.hash(form.password)

        def changed(current: User) -> User:
            _check_unchanged(current, user)
            named = msgspec.structs.replace(current, name=form.name or current.name)
            if (email, password) == (current.email, current.password):
                return named
            replaced = msgspec.structs.replace(named, email=email, password=password)
            return ended_everywhere(replaced)

        return await self._change(request, user, "updateOwnUser", changed)

    async def start_totp(self, request: Request) -> Response:
        """Makes a secret for an authenticator app, which a code has yet to confirm."""
        user = (await require_session(request.scope)).user
        form = await body_of(request, PasswordForm)
        await self._check_current(user, form.current_password)
        secret = second_factor.make_secret()

        def started(current: User) -> User:
            _check_unchanged(current, user)
            if current.totp:
                raise Rejected(Reason.conflict, "codes are on already: turn them off first")
            return msgspec.structs.replace(current, totp_pending=secret)

        registry = self._parts.registry_of(request.scope, user, "startTotp")
        await registry.patch(User, user.account, user.number, started)
        uri = second_factor.provisioning_uri(secret, user)
        return json_response(NewTotpAnswer(secret=secret, provisioning_uri=uri), 201)

    async def confirm_totp(self, request: Request) -> Response:
        """Turns codes on by a first one; answers recovery codes this once."""
        user = (await require_session(request.scope)).user
        form = await body_of(request, CodeForm)
        shown, stored = second_factor.make_recovery_codes()

        def confirmed(current: User) -> User:
            _check_unchanged(current, user)
            pending, now = current.totp_pending, time.time()
            secret = second_factor.secret_of(self._parts.registry, current, pending)
            step = second_factor.matching_step(secret, form.code, now) if pending else None
            if step is None:
                message = "is not the code that the app shows now for this secret"
                raise Rejected(Reason.invalid_field, message, field="code")
            on = msgspec.structs.replace(
                current, totp=pending, totp_pending="", totp_step=step, recovery_codes=stored
            )
            return ended_everywhere(on)

        return await self._change(request, user, "confirmTotp", confirmed, shown)

    async def remove_totp(self, request: Request) -> Response:
        """Turns codes off."""
        user = (await require_session(request.scope)).user
        form = await body_of(request, PasswordForm)
        await self._check_current(user, form.current_password)

        def removed(current: User) -> User:
            _check_unchanged(current, user)
            return ended_everywhere(without_second_factor(current))

        return await self._change(request, user, "removeTotp", removed)

    async def _change(
        self,
        request: Request,
        user: User,
        operation: str,
        change: Callable[[User], User],
        codes: tuple[str, ...] = (),
    ) -> Response:
        registry = self._parts.registry_of(request.scope, user, operation)
        changed = await registry.patch(User, user.account, user.number, change)
        return await open_session(self._parts, request.scope, changed, codes)

    async def _check_current(self, user: User, password: str | None) -> None:
        """Rejected unless this is the person's password; nobody needs one before it is set."""
        if not user.password:
            return
        if password is None:
            raise Rejected(Reason.missing_field, "is required", field="current_password")
        check_length(password, "current_password")
        # Whoever found an open dashboard must not guess on.
        made = attempt(user=str(user.number))
        await self._parts.throttle.count(made)
        if not await self._parts.passwords.verify(user.password, password):
            message = "is not the password"
            raise Rejected(Reason.invalid_field, message, field="current_password")
        await self._parts.throttle.take_back(made)


def _check_unchanged(current: User, seen: User) -> None:
    """Rejected where the person's sessions ended since the request was let in."""
    if current.epoch != seen.epoch or not current.is_active:
        raise Rejected(Reason.unauthorized, "the session has ended: sign in again")


_PASSWORD = {"current_password": "correct horse battery"}
_SET_COOKIE = {201: ("Set-Cookie",)}
_GOES_ON = {201: "Changed; the session goes on under another token."}
OPERATIONS = [
    Operation(
        id="updateOwnUser",
        tag="Sessions",
        method="PATCH",
        path=f"{PATH}/user",
        summary="Change your name, address or password.",
        description="Sets the fields that are sent. Another address or password ends all other"
        " sessions.",
        by_session=True,
        scope="",
        bodies=[of(OwnUserPatch, example={**_PASSWORD, "password": "another long password"})],
        answers={201: of(SessionAnswer, example=EXAMPLE)},
        refusals=(409, 429),
        texts=_GOES_ON,
        headers=_SET_COOKIE,
    ),
    Operation(
        id="startTotp",
        tag="Sessions",
        method="POST",
        path=f"{PATH}/totp",
        summary="Make a secret for an authenticator app.",
        description="Answers a new secret this once. Codes are needed to sign in as soon as one"
        " has confirmed it.",
        by_session=True,
        scope="",
        bodies=[of(PasswordForm, example=_PASSWORD)],
        answers={
            201: of(
                NewTotpAnswer,
                example={
                    "secret": "JBSWY3DPEHPK3PXP…",
                    "provisioning_uri": "otpauth://totp/LinkJolt:ann%40shop.example?secret=…",
                },
            )
        },
        refusals=(409, 429),
    ),
    Operation(
        id="confirmTotp",
        tag="Sessions",
        method="POST",
        path=f"{PATH}/totp/confirm",
        summary="Turn codes on.",
        description="Confirms the secret by a code, ends all other sessions, and answers recovery"
        " codes this once.",
        by_session=True,
        scope="",
        bodies=[of(CodeForm, example={"code": "492039"})],
        answers={
            201: of(
                RecoveryCodesAnswer,
                example={**EXAMPLE, "recovery_codes": ["5f0c2-a9be1-d3470-85f0c"]},
            )
        },
        refusals=(409,),
        texts=_GOES_ON,
        headers=_SET_COOKIE,
    ),
    Operation(
        id="removeTotp",
        tag="Sessions",
        method="POST",
        path=f"{PATH}/totp/remove",
        summary="Turn codes off.",
        description="Forgets the secret and the recovery codes, and ends all other sessions.",
        by_session=True,
        scope="",
        bodies=[of(PasswordForm, example=_PASSWORD)],
        answers={201: of(SessionAnswer, example=EXAMPLE)},
        refusals=(409, 429),
        texts=_GOES_ON,
        headers=_SET_COOKIE,
    ),
]
