"""`/v1/oauth-clients`: OAuth clients, programs that exchange a secret for short-lived tokens."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from linkjolt.api.api_keys import Scopes, check_granted, check_scopes, read_expiry
from linkjolt.auth.key_grants import check_governed
from linkjolt.auth.tokens import TokenHolder
from linkjolt.registry import api_key_secrets
from linkjolt.registry.checks import check_name
from linkjolt.registry.entries import ApiKey, OAuthClient, public_id
from linkjolt.web.collections import Call, Collection, Described
from linkjolt.web.forms import Instant, Name


class OAuthClientForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OAuth client to create; its tokens have its scopes or fewer."""

    name: Name
    scopes: Scopes
    expires_at: Instant | None = None
    test: bool = False


class OAuthClientPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes to an OAuth client."""

    name: Name | UnsetType = UNSET


class OAuthClientAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An OAuth client; `hint` shows the end of its secret."""

    id: str
    client_id: str
    name: str
    scopes: tuple[str, ...]
    hint: str
    expires_at: Instant | None
    test: bool
    created_at: Instant


class NewOAuthClientAnswer(OAuthClientAnswer, frozen=True, kw_only=True):
    """A client just created; `client_secret` is shown this once."""

    client_secret: str


def client_answer(client: OAuthClient) -> OAuthClientAnswer:
    identity = public_id("client", client.number)
    return OAuthClientAnswer(
        id=identity,
        client_id=identity,
        name=client.name,
        scopes=client.scopes,
        hint=client.hint,
        expires_at=client.expires_at,
        test=client.test,
        created_at=client.created_at,
    )


def _as_key(client: OAuthClient) -> ApiKey:
    """Returns the most that a token of the client can do."""
    return TokenHolder(
        number=client.number,
        account=client.account,
        name=client.name,
        scopes=client.scopes,
        digest="",
        hint="",
        expires_at=client.expires_at,
        test=client.test,
        created_at=client.created_at,
    )


async def _create(call: Call, form: OAuthClientForm) -> NewOAuthClientAnswer:
    check_name(form.name)
    check_scopes(form.scopes)
    secret = api_key_secrets.make_client_secret()
    client = OAuthClient(
        number=0,
        account=call.account,
        name=form.name,
        scopes=tuple(dict.fromkeys(form.scopes)),
        digest=api_key_secrets.digest(secret),
        hint=api_key_secrets.client_hint(secret),
        expires_at=read_expiry(form.expires_at, call.now),
        test=form.test,
        created_at=call.now,
    )
    check_granted(call, _as_key(client))
    created = client_answer(await call.registry.create(client))
    return NewOAuthClientAnswer(client_secret=secret, **msgspec.structs.asdict(created))


def _patch(call: Call, client: OAuthClient, patch: OAuthClientPatch) -> OAuthClient:
    check_governed(call.key, _as_key(client))
    if patch.name is UNSET or patch.name == client.name:
        return client
    check_name(patch.name)
    return msgspec.structs.replace(client, name=patch.name, revision=client.revision + 1)


_EXAMPLE: dict[str, Any] = {
    "id": "client_3",
    "client_id": "client_3",
    "name": "Warehouse system",
    "scopes": ["conversions:write"],
    "hint": "lj_secret_...x7Qa",
    "expires_at": None,
    "test": False,
    "created_at": "2026-05-04T10:00:00Z",
}
OAUTH_CLIENTS = Collection(
    path="/v1/oauth-clients",
    described=Described(
        id="OauthClient",
        tag="OAuth",
        noun="OAuth client",
        note="Creates an OAuth client and answers its secret this once. It may hold no scope that"
        " the key of the request lacks, and expires no later than that.",
        answer=OAuthClientAnswer,
        created=NewOAuthClientAnswer,
        form_example={"name": "Warehouse system", "scopes": ["conversions:write"]},
        patch_example={"name": "Warehouse"},
        example=_EXAMPLE,
        created_example={**_EXAMPLE, "client_secret": "lj_secret_…"},
    ),
    entry=OAuthClient,
    form=OAuthClientForm,
    patch_form=OAuthClientPatch,
    read_scope="keys:write",
    write_scope="keys:write",
    create=_create,
    patch=_patch,
    answer=lambda _, client: client_answer(client),
    check_delete=lambda call, client: check_governed(call.key, _as_key(client)),
    has_modes=True,
)
