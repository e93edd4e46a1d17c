"""Answers `/oauth/token`, `/oauth/revoke` and the metadata of the authorization server."""

import asyncio
import hmac
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ingest import metrics
from ingest.edge import Edge
from ingest.oauth.client_request import (
    GRANT_TYPE,
    Credentials,
    ErrorCode,
    OAuthRefusal,
    basic_credentials,
    check_authenticated_once,
    form_credentials,
    granted_scopes,
    invalid_client,
    parse_form,
)
from linkjolt.audit_log.entries import AuditSource
from linkjolt.auth.access import count_failure
from linkjolt.auth.tokens import AccessToken, issue_token, sign_token, verify_token
from linkjolt.clicks.addresses import network_address
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import SCOPES, OAuthClient, parse_public_id, public_id
from linkjolt.registry.revocations import revoke_token
from linkjolt.registry.store import Registry
from linkjolt.web import requests
from linkjolt.web.openapi_document import TOKEN_PATH

REVOCATION_PATH = "/oauth/revoke"
METADATA_PATH = "/.well-known/oauth-authorization-server"
FORM = "application/x-www-form-urlencoded"
_BODY_MAX_BYTES = 8 << 10
_AUTHENTICATED_BY = ("client_secret_basic", "client_secret_post")
_NOBODYS_DIGEST = api_key_secrets.digest("")
# RFC 6749, 5.2: the characters that a description cannot have.
_UNDESCRIBABLE = re.compile(r"[^ -!#-\[\]-~]")
# RFC 6749, 5.1: also for caches that know HTTP 1.0 only.
_UNCACHED = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class AccessTokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A new access token; it is sent as `Authorization: Bearer`."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    scope: str


class OAuthErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal as OAuth clients expect it (RFC 6749, 5.2)."""

    error: ErrorCode
    error_description: str


class ServerMetadataAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses and abilities of the authorization server (RFC 8414)."""

    issuer: str
    token_endpoint: str
    revocation_endpoint: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = _AUTHENTICATED_BY
    revocation_endpoint_auth_methods_supported: tuple[str, ...] = _AUTHENTICATED_BY
    grant_types_supported: tuple[str, ...] = (GRANT_TYPE,)
    response_types_supported: tuple[str, ...] = ()
    scopes_supported: tuple[str, ...] = SCOPES


def server_metadata(edge_url: str) -> ServerMetadataAnswer:
    """Describes the authorization server at this address."""
    return ServerMetadataAnswer(
        issuer=edge_url,
        token_endpoint=f"{edge_url}{TOKEN_PATH}",
        revocation_endpoint=f"{edge_url}{REVOCATION_PATH}",
    )


class OAuthEndpoints:
    """Issues and revokes the access tokens of this installation's clients."""

    def __init__(self, edge: Edge) -> None:
        self._clients = edge.directory.clients
        self._registry = Registry(edge.redis)
        self._addresses = edge.directory.addresses
        self._settings = edge.settings
        # Revocations of one client that overtake each other would have to be tried again.
        self._revoking = asyncio.Lock()

    def routes(self) -> list[BaseRoute]:
        """Lists the routes of these endpoints."""
        return [
            Route(TOKEN_PATH, self.issue, methods=["POST"]),
            Route(REVOCATION_PATH, self.revoke, methods=["POST"]),
            Route(METADATA_PATH, self.metadata, methods=["GET"]),
        ]

    async def issue(self, request: Request) -> Response:
        """Answers POST /oauth/token."""
        return await _answered(request, "token", self._issue)

    async def revoke(self, request: Request) -> Response:
        """Answers POST /oauth/revoke (RFC 7009)."""
        return await _answered(request, "revoke", self._revoke)

    async def metadata(self, _: Request) -> Response:
        """Answers GET /.well-known/oauth-authorization-server."""
        return requests.json_response(server_metadata(self._settings.edge_url()))

    async def _issue(self, request: Request) -> Response:
        client, form = await self._authenticated(request)
        scopes = granted_scopes(form, client)
        token = issue_token(client, scopes, _now_ms(), self._settings.token_seconds)
        answer = AccessTokenAnswer(
            access_token=sign_token(token, self._clients.token_keys),
            expires_in=token.expires_at - token.issued_ms // 1_000,
            scope=token.scopes,
        )
        return requests.json_response(answer, headers=_UNCACHED)

    async def _revoke(self, request: Request) -> Response:
        client, form = await self._authenticated(request)
        if "token" not in form:
            raise OAuthRefusal("invalid_request", "token is required")
        token = verify_token(form["token"], self._clients.token_keys)
        # What is no token, or no longer one, is what the client wants it to be.
        if token is not None and token.expires_at > time.time():
            await self._revoke_of(client, token, request)
        return Response(headers=_UNCACHED)

    async def _revoke_of(self, client: OAuthClient, token: AccessToken, request: Request) -> None:
        if (token.client, token.account) != (client.number, client.account):
            raise OAuthRefusal("invalid_grant", "the token was issued to another client")
        source = AuditSource(
            actor=public_id("client", client.number),
            actor_name=client.name,
            operation="revokeToken",
            status=200,
            request_id=requests.request_id(request.scope),
            address=network_address(self._addresses.read(request.scope)),
        )
        async with self._revoking:
            revoked = await self._registry.written_by(source).patch(
                OAuthClient,
                client.account,
                client.number,
                lambda entry: revoke_token(entry, token.revoked(), time.time()),
            )
        # Here at once; elsewhere by the change feed.
        self._clients.put(revoked)

    async def _authenticated(self, request: Request) -> tuple[OAuthClient, dict[str, str]]:
        """Returns the client that authenticates, and the form of its request."""
        if request.scope["query_string"]:
            raise OAuthRefusal("invalid_request", "send all parameters in the body")
        if requests.media_type(request.scope) != FORM:
            raise OAuthRefusal("invalid_request", f"send the body as {FORM}")
        credentials = basic_credentials(request.headers.getlist("authorization"))
        if credentials is None:
            form = parse_form(await requests.read_body(request, _BODY_MAX_BYTES))
            return await self._client(form_credentials(form), request), form
        client = await self._client(credentials, request)
        request.scope[requests.VERIFIED] = True
        form = parse_form(await requests.read_body(request, _BODY_MAX_BYTES))
        check_authenticated_once(form, credentials)
        return client, form

    async def _client(self, credentials: Credentials, request: Request) -> OAuthClient:
        number = parse_public_id("client", credentials.client_id)
        known = await self._clients.client(number) if number else None
        digest = known.entry.digest if known else _NOBODYS_DIGEST
        is_secret = hmac.compare_digest(digest, api_key_secrets.digest(credentials.secret))
        if not known or not is_secret or not known.entry.is_valid(datetime.now(UTC)):
            raise count_failure(request.scope, Rejected(Reason.unauthorized, "no such client"))
        if await self._clients.is_disabled(known.entry.account):
            raise invalid_client("the account of the client is disabled")
        return known.entry


async def _answered(
    request: Request, endpoint: str, answer: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Answers a request of a client, refusals as OAuth has them, and counts it."""
    try:
        response = await answer(request)
    except Exception as error:
        refused = _refusal_of(error)
        if refused is None:
            raise
        metrics.OAUTH_REQUESTS.labels(endpoint, refused.error).inc()
        return _refused(refused)
    metrics.OAUTH_REQUESTS.labels(endpoint, "ok").inc()
    return response


def _refusal_of(error: Exception) -> OAuthRefusal | None:
    if isinstance(error, OAuthRefusal):
        return error
    refused = requests.refusal_of(error)
    match refused.reason:
        case Reason.internal:
            return None
        case Reason.unavailable | Reason.conflict:
            return OAuthRefusal("temporarily_unavailable", "try again in a second", 503, 1)
        case Reason.rate_limited:
            return OAuthRefusal(
                "temporarily_unavailable",
                "authentication failed too often",
                429,
                retry_after_seconds=refused.retry_after_seconds,
            )
        case Reason.unauthorized | Reason.not_found:
            return invalid_client("the client is unknown, or its secret is wrong")
        case _:
            description = _UNDESCRIBABLE.sub("?", refused.message)
            return OAuthRefusal("invalid_request", description, refused.status)


def _refused(refused: OAuthRefusal) -> Response:
    headers = dict(_UNCACHED)
    if refused.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="linkjolt", charset="UTF-8"'
    if refused.retry_after_seconds:
        headers["Retry-After"] = str(refused.retry_after_seconds)
    answer = OAuthErrorAnswer(error=refused.error, error_description=refused.description)
    return requests.json_response(answer, refused.status, headers=headers)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
