"""`/v1/users`: the people who sign in, their roles, and links by which they are let in once."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from linkjolt.auth.key_grants import check_expiry_granted
from linkjolt.auth.people.one_time_links import (
    LIFETIME_SECONDS,
    OneTimeLinks,
    Purpose,
    link_url,
)
from linkjolt.auth.people.roles import ROLE_SCOPES
from linkjolt.datasets import Account
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.checks import check_email, check_name
from linkjolt.registry.entries import ApiKey, User, public_id
from linkjolt.registry.people.entry import Role
from linkjolt.registry.store import Registry
from linkjolt.web.collections import Call, Collection, Described, Endpoint, body_of, entry_number
from linkjolt.web.forms import Email, Instant, Name, given
from linkjolt.web.openapi import Operation, of
from linkjolt.web.requests import json_response

RequiredEmail = Annotated[Email, Meta(min_length=1)]


class UserForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person to invite."""

    email: RequiredEmail
    name: Name
    role: Role


class UserPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes to a person; a new role or status ends the person's sessions."""

    name: Name | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    status: Literal["active", "disabled"] | UnsetType = UNSET


class UserAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A person; `email` is null until it is set, `joined_at` until an invitation is accepted.

    `signed_in_at` is when the person last signed in, null for never.
    """

    id: str
    email: str | None
    name: str
    role: Role
    status: Literal["active", "disabled", "invited"]
    two_factor: bool
    created_at: Instant
    joined_at: Instant | None
    signed_in_at: Instant | None


class InvitedUserAnswer(UserAnswer, frozen=True, kw_only=True):
    """A person just invited; `link`, shown this once, lets in once until `link_expires_at`."""

    link: str
    link_expires_at: Instant


class UserLinkForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A link to make; with `remove_two_factor` its use turns the codes off, too."""

    remove_two_factor: bool = False


class UserLinkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A link that lets a person in once, shown this once."""

    id: str
    link: str
    link_expires_at: Instant


def user_answer(user: User) -> UserAnswer:
    is_invited = user.joined_at is None and user.status == "active"
    return UserAnswer(
        id=public_id("user", user.number),
        email=user.email or None,
        name=user.name,
        role=user.role,
        status="invited" if is_invited else user.status,
        two_factor=bool(user.totp),
        created_at=user.created_at,
        joined_at=user.joined_at,
        signed_in_at=user.signed_in_at,
    )


def new_user(form: UserForm, account: Account, now: datetime) -> User:
    """The person of a form, whose number is still 0; Rejected, naming the field."""
    check_name(form.name)
    email = check_email(form.email)
    if not email:
        raise Rejected(Reason.invalid_field, "is not an e-mail address", field="email")
    return User(
        number=0, account=account, email=email, name=form.name, role=form.role, created_at=now
    )


def check_role_granted(actor: ApiKey, role: Role) -> None:
    """Rejected where a role allows anything that the key or session of the request does not."""
    for scope in ROLE_SCOPES[role]:
        if not actor.allows(scope):
            message = f"cannot be {role}, which has the scope {scope} that the request lacks itself"
            raise Rejected(Reason.forbidden, message, field="role")
    if actor.allowed_networks:
        message = "cannot be granted by a key that works from some networks only: people may come"
        raise Rejected(Reason.forbidden, f"{message} from any", field="role")
    # Whoever is let in may stay for longer than the key.
    check_expiry_granted(actor, None)


def purpose_of_link(user: User) -> Purpose:
    return "reset" if user.password else "join"


def _check_active(user: User) -> None:
    if not user.is_active:
        raise Rejected(Reason.conflict, "the person is disabled")


async def make_link(
    links: OneTimeLinks, user: User, reports_url: str, now: datetime, *, removes_totp: bool = False
) -> UserLinkAnswer:
    """Makes a link by which a person is let in once; Rejected for one who is disabled."""
    _check_active(user)
    purpose = purpose_of_link(user)
    token = await links.make(user, purpose, removes_totp=removes_totp)
    return UserLinkAnswer(
        id=public_id("user", user.number),
        link=link_url(reports_url, purpose, token),
        link_expires_at=now + timedelta(seconds=LIFETIME_SECONDS[purpose]),
    )


async def make_audited_link(
    registry: Registry, user: User, reports_url: str, now: datetime, *, removes_totp: bool
) -> UserLinkAnswer:
    """Makes a link as `make_link`, with an entry of the audit log."""
    _check_active(user)
    await registry.audit(user.account, public_id("user", user.number))
    links = OneTimeLinks(registry.redis)
    return await make_link(links, user, reports_url, now, removes_totp=removes_totp)


async def _create(call: Call, form: UserForm) -> InvitedUserAnswer:
    user = new_user(form, call.account, call.now)
    check_role_granted(call.key, user.role)
    created = await call.registry.create(user)
    links = OneTimeLinks(call.registry.redis)
    made = await make_link(links, created, call.settings.reports_url(), call.now)
    answer = msgspec.structs.asdict(user_answer(created))
    return InvitedUserAnswer(link=made.link, link_expires_at=made.link_expires_at, **answer)


def _patch(call: Call, user: User, patch: UserPatch) -> User:
    check_role_granted(call.key, user.role)
    patched = msgspec.structs.replace(user, **given(patch))
    if patch.name is not UNSET:
        check_name(patch.name)
    check_role_granted(call.key, patched.role)
    if (patched.role, patched.status) == (user.role, user.status):
        return patched
    return msgspec.structs.replace(patched, epoch=user.epoch + 1)


async def _make_link(call: Call) -> Response:
    form = await body_of(call.request, UserLinkForm)
    user = await call.registry.get(User, call.account, entry_number(call, "user"))
    check_role_granted(call.key, user.role)
    url, removes = call.settings.reports_url(), form.remove_two_factor
    made = await make_audited_link(call.registry, user, url, call.now, removes_totp=removes)
    return json_response(made, 201)


EXAMPLE: dict[str, Any] = {
    "id": "usr_2",
    "email": "ann@shop.example",
    "name": "Ann",
    "role": "manager",
    "status": "invited",
    "two_factor": False,
    "created_at": "2026-05-04T10:00:00Z",
    "joined_at": None,
    "signed_in_at": None,
}
_LINK_EXAMPLE = {
    "link": "https://reports.shop.example/#/join?token=…",
    "link_expires_at": "2026-05-11T10:00:00Z",
}
USERS = Collection(
    path="/v1/users",
    described=Described(
        id="User",
        tag="People",
        noun="person",
        note="Invites a person, and answers the link of the invitation this once. Nobody grants a"
        " role that allows more than the key or session of the request.",
        answer=UserAnswer,
        created=InvitedUserAnswer,
        form_example={"email": "ann@shop.example", "name": "Ann", "role": "manager"},
        patch_example={"role": "viewer"},
        example=EXAMPLE,
        created_example={**EXAMPLE, **_LINK_EXAMPLE},
    ),
    entry=User,
    form=UserForm,
    patch_form=UserPatch,
    read_scope="account:write",
    write_scope="account:write",
    create=_create,
    patch=_patch,
    answer=lambda _, user: user_answer(user),
    check_delete=lambda call, user: check_role_granted(call.key, user.role),
)
LINK = Endpoint(
    Operation(
        id="makeUserLink",
        tag="People",
        method="POST",
        path="/v1/users/{id}/link",
        summary="Make a link that lets a person in once.",
        description="Makes a new invitation for a person who has not accepted one, and a link to"
        " set a new password for all others. It is answered this once. Codes of two factors are"
        " still needed, unless `remove_two_factor` turns them off.",
        scope="account:write",
        live_only=True,
        bodies=[of(UserLinkForm, example={"remove_two_factor": False})],
        answers={201: of(UserLinkAnswer, example={"id": "usr_2", **_LINK_EXAMPLE})},
        refusals=(404, 409),
    ),
    _make_link,
)
