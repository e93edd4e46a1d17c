"""The operations of OAuth, for the edge's OpenAPI document."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ingest.oauth.client_request import GRANT_TYPE
from ingest.oauth.http import (
    FORM,
    METADATA_PATH,
    REVOCATION_PATH,
    AccessTokenAnswer,
    OAuthErrorAnswer,
    ServerMetadataAnswer,
    server_metadata,
)
from linkjolt.web.openapi import Body, Operation, of
from linkjolt.web.openapi_document import TOKEN_PATH

_TOKEN = "lj_token_AQABmsQ…"
_AUTHENTICATES = "The client authenticates by HTTP Basic or in the body (RFC 6749, 2.3.1)."
_CLIENT = {
    "client_id": "The client's id, where it does not authenticate by HTTP Basic.",
    "client_secret": "The client's secret, where it does not authenticate by HTTP Basic.",
}
_ERRORS: dict[int, tuple[str, str, str]] = {
    400: ("invalid_request", "grant_type is required", "The request is refused, as `error` says."),
    401: (
        "invalid_client",
        "the client is unknown, or its secret is wrong",
        "The client did not authenticate.",
    ),
    413: ("invalid_request", "the body is over 8192 bytes", "The body is too large."),
    429: (
        "temporarily_unavailable",
        "authentication failed too often",
        "Too many authentications from this address failed.",
    ),
    503: (
        "temporarily_unavailable",
        "try again in a second",
        "A server that this one depends on is unavailable; nothing was changed.",
    ),
}


def _form(required: str, fields: Mapping[str, str], example: Mapping[str, str]) -> Body:
    properties = {
        name: {"type": "string", "description": text}
        for name, text in {**fields, **_CLIENT}.items()
    }
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": [required],
    }
    return Body(media=FORM, schema=schema, example=example)


def _errors() -> dict[int, Body]:
    return {
        status: of(OAuthErrorAnswer, example={"error": error, "error_description": description})
        for status, (error, description, _) in _ERRORS.items()
    }


_TEXTS = {status: text for status, (_, _, text) in _ERRORS.items()}
_HEADERS = {
    200: ("Pragma",),
    400: ("Pragma",),
    401: ("Pragma", "WWW-Authenticate"),
    413: ("Pragma",),
    429: ("Pragma", "Retry-After"),
    503: ("Pragma", "Retry-After"),
}
_TOKEN_FORM = _form(
    "grant_type",
    {
        "grant_type": f"`{GRANT_TYPE}`.",
        "scope": "Scopes with a space between them; by default all of the client.",
    },
    {"grant_type": GRANT_TYPE, "scope": "conversions:write"},
)
_REVOCATION_FORM = _form(
    "token", {"token": "The access token.", "token_type_hint": "Ignored."}, {"token": _TOKEN}
)
_ISSUED = of(
    AccessTokenAnswer,
    example={
        "access_token": _TOKEN,
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "conversions:write",
    },
)
OPERATIONS = [
    Operation(
        id="issueToken",
        tag="OAuth",
        method="POST",
        path=TOKEN_PATH,
        summary="Get an access token.",
        description="Exchanges a client's id and secret for a bearer token of at most an hour (RFC"
        f" 6749, 4.4). {_AUTHENTICATES}",
        for_clients=True,
        bodies=[_TOKEN_FORM],
        answers={200: _ISSUED, **_errors()},
        texts=_TEXTS,
        headers=_HEADERS,
    ),
    Operation(
        id="revokeToken",
        tag="OAuth",
        method="POST",
        path=REVOCATION_PATH,
        summary="Revoke an access token.",
        description="Makes a token of this client invalid on every edge within a second (RFC 7009)."
        f" A text that is no valid token is answered alike. {_AUTHENTICATES}",
        for_clients=True,
        bodies=[_REVOCATION_FORM],
        answers={200: None, **_errors()},
        texts=_TEXTS,
        headers=_HEADERS,
    ),
    Operation(
        id="getAuthorizationServer",
        tag="OAuth",
        method="GET",
        path=METADATA_PATH,
        summary="Get the addresses of the authorization server.",
        description="Returns the metadata by which OAuth clients configure themselves (RFC 8414).",
        answers={
            200: of(
                ServerMetadataAnswer,
                example=msgspec.to_builtins(server_metadata("https://go.example")),
            )
        },
    ),
]
