"""Reads the requests of OAuth clients: their form, their credentials, the scopes they ask for.

RFC 6749, 2.3.1 (credentials), 3.2 (form), 3.3 (scopes), 5.2 (errors).
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import parse_qsl, unquote_plus

import msgspec

from linkjolt.registry.entries import SCOPES, OAuthClient

ErrorCode = Literal[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unsupported_grant_type",
    "invalid_scope",
    "temporarily_unavailable",
]
GRANT_TYPE = "client_credentials"
_FIELDS_MAX = 32
_SCOPE_TOKENS = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")


class OAuthRefusal(Exception):
    """A refusal as RFC 6749 answers it; the description has no quote and no backslash."""

    def __init__(
        self, error: ErrorCode, description: str, status: int = 400, retry_after_seconds: int = 0
    ) -> None:
        super().__init__(description)
        self.error: ErrorCode = error
        self.description = description
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class Credentials(msgspec.Struct, frozen=True):
    """The id and secret by which a client authenticates."""

    client_id: str
    secret: str

    def __repr__(self) -> str:
        return "Credentials()"


def invalid_client(description: str) -> OAuthRefusal:
    return OAuthRefusal("invalid_client", description, 401)


def parse_form(body: bytes) -> dict[str, str]:
    """Parses a form; a parameter without a value is absent. OAuthRefusal for a repeated one."""
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_FIELDS_MAX,
        )
    except ValueError:
        message = f"the body must be a form in UTF-8 of at most {_FIELDS_MAX} parameters"
        raise OAuthRefusal("invalid_request", message) from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise OAuthRefusal("invalid_request", "no parameter may be sent more than once")
    return {name: value for name, value in form.items() if value}


def basic_credentials(headers: Sequence[str]) -> Credentials | None:
    """Reads the credentials of the Authorization headers; None where there is none.

    OAuthRefusal where they cannot be read. Both parts are form-encoded before they are joined.
    """
    if not headers:
        return None
    if len(headers) > 1:
        raise OAuthRefusal("invalid_request", "Authorization is sent more than once")
    scheme, _, encoded = headers[0].partition(" ")
    if scheme.lower() != "basic":
        raise invalid_client("clients authenticate by HTTP Basic, or in the body")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        client_id, colon, secret = text.partition(":")
        credentials = Credentials(
            unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
        )
    except (binascii.Error, ValueError):
        colon, credentials = "", Credentials("", "")
    if not colon:
        raise invalid_client("the credentials of HTTP Basic cannot be read")
    return credentials


def form_credentials(form: Mapping[str, str]) -> Credentials:
    """Reads the credentials in the body; OAuthRefusal where they are missing."""
    if "client_id" not in form or "client_secret" not in form:
        raise invalid_client("send client_id and client_secret by HTTP Basic, or in the body")
    return Credentials(form["client_id"], form["client_secret"])


def check_authenticated_once(form: Mapping[str, str], credentials: Credentials) -> None:
    """Refuses a form that names other credentials than those of HTTP Basic."""
    if "client_secret" in form:
        message = "the client authenticates by HTTP Basic and in the body: send one of them"
        raise OAuthRefusal("invalid_request", message)
    if form.get("client_id", credentials.client_id) != credentials.client_id:
        raise OAuthRefusal("invalid_request", "client_id is not the client that authenticates")


def granted_scopes(form: Mapping[str, str], client: OAuthClient) -> tuple[str, ...]:
    """Returns the scopes that a token gets: those asked for, by default all of the client."""
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise OAuthRefusal("invalid_request", "grant_type is required")
    if grant_type != GRANT_TYPE:
        raise OAuthRefusal("unsupported_grant_type", f"grant_type must be {GRANT_TYPE}")
    asked = form.get("scope")
    if asked is None:
        return client.scopes
    if not _SCOPE_TOKENS.fullmatch(asked):
        raise OAuthRefusal("invalid_scope", "scope must be scopes with one space between them")
    scopes = tuple(dict.fromkeys(asked.split(" ")))
    for scope in scopes:
        if scope not in SCOPES or not {"admin", scope} & {*client.scopes}:
            raise OAuthRefusal("invalid_scope", "scope has a scope that the client lacks")
    return scopes
