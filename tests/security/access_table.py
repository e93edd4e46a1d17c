"""Derives from an OpenAPI document who may call each operation, and calls it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from linkjolt.registry.entries import SCOPES

Document = dict[str, Any]
Validity = Literal["valid", "revoked", "expired", "malformed", "none"]
# Answers that say nothing about the key: whatever else an operation may answer with.
LET_IN = "let in"
# Only the secret of an OAuth client lets in, and no key.
CLIENTS_ONLY = "clients only"
# The ids of paths: those of nothing, so that no cell of the table changes what the next one meets.
_IDS = {
    "campaigns": "cmp_999",
    "affiliates": "aff_999",
    "links": "lnk_999",
    "coupons": "cpn_999",
    "rates": "rate_999",
    "keys": "key_999",
    "oauth-clients": "client_999",
    "webhooks": "whk_999",
    "privacy": "prv_999",
    "users": "usr_999",
}
_PARAMETERS = {
    "conversion_id": "conv_06EZ3GQ8N4T5W1Y7B2C9D0F6H8",
    "webhook_id": "msg_5f0c2a9be1d347085f0c2a9be1d34708",
    "tracking_code": "tc_unknown",
    "dialect": "keitaro",
    "name": "none.js",
}
# What else is sent, where the example has no order of the campaign 1.
_QUERIES: Mapping[str, Mapping[str, str]] = {
    "receivePostback": {"tracking_code": "tc_ABC123", "payout": "9.90", "order_id": "order_1"},
    "listEarlyAdjustments": {"order_id": "order_1"},
}
# Name the campaign 1 by the link of their example: a key that is bound to another is refused.
_OF_CAMPAIGN_1 = ("postConversions", "postAdjustments", "receivePostback")


_OF_AFFILIATES = {"links:read", "reports:read", "events:read"}


class Access(msgspec.Struct, frozen=True):
    """A key, a client's token or a person's session, as far as access is concerned.

    `campaign` and `affiliate` 0 are bound to none.
    """

    scopes: tuple[str, ...]
    test: bool = False
    campaign: int = 0
    affiliate: int = 0
    validity: Validity = "valid"
    token: bool = False
    session: bool = False

    @property
    def name(self) -> str:
        bound = f"bound-{self.campaign}" if self.campaign else "unbound"
        bound = f"affiliate-{self.affiliate}" if self.affiliate else bound
        mode = "test" if self.test else "live"
        form = " token" if self.token else " session" if self.session else ""
        return f"{'+'.join(self.scopes)} {mode} {bound} {self.validity}{form}"

    @property
    def held(self) -> set[str]:
        """Returns the scopes that it holds; bound to an affiliate, those of reading alone."""
        held = {*SCOPES} if "admin" in self.scopes else {*self.scopes}
        return held & _OF_AFFILIATES if self.affiliate else held


class Called(msgspec.Struct, frozen=True):
    """An operation of a document, with the ways to be authorized: scopes, all of which it needs.

    `ways` is None for an operation without a key. `scheme` is where the key goes.
    """

    id: str
    method: str
    path: str
    ways: tuple[tuple[str, ...], ...] | None
    schemes: frozenset[str]
    live_only: bool
    narrows: bool
    body: tuple[str, bytes] | None
    query: Mapping[str, str] = {}

    @property
    def by_session(self) -> bool:
        """Returns whether no key at all is let in."""
        return self.schemes == frozenset(["session"])

    @property
    def url(self) -> str:
        url = self.path
        for name, value in _PARAMETERS.items():
            url = url.replace(f"{{{name}}}", value)
        return url.replace("{id}", _IDS.get(self.path.split("/")[2], "")) if "{id}" in url else url


def accesses() -> list[Access]:
    """Lists every scope alone, in both modes and bindings, pairs that are needed, and no key."""
    valid = [
        Access(scopes, test, campaign, affiliate)
        for scopes in [*((scope,) for scope in SCOPES), ("webhooks:write", "events:read")]
        for test in (False, True)
        # One is the campaign and the affiliate of the requests, two another.
        for campaign, affiliate in ((0, 0), (1, 0), (2, 0), (0, 1), (0, 2))
    ]
    invalid: Sequence[Validity] = ("revoked", "expired", "malformed", "none")
    keys = [*valid, *(Access(("admin",), validity=validity) for validity in invalid)]
    # No client is bound.
    free = [one for one in keys if not (one.campaign or one.affiliate)]
    unbound = [one for one in free if one.validity != "none"]
    return [*keys, *(msgspec.structs.replace(one, token=True) for one in unbound)]


def operations_of(document: Document) -> Iterator[Called]:
    """Yields every operation; GET also as HEAD."""
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            security = described.get("security")
            assert security != [], f"{method} {path} has an empty list of ways"
            one = Called(
                id=described["operationId"],
                method=method.upper(),
                path=path,
                ways=_ways(security),
                schemes=frozenset(scheme for way in security or () for scheme in way) - {"token"},
                live_only=described.get("x-live-only", False),
                narrows=described.get("x-narrows-to-affiliate", False),
                body=_body(described),
                query=_QUERIES.get(described["operationId"], {}),
            )
            yield one
            if one.method == "GET" and "head" not in methods:
                yield msgspec.structs.replace(one, method="HEAD")


def _ways(security: Sequence[Mapping[str, Sequence[str]]] | None) -> Any:
    if security is None:
        return None
    return tuple(dict.fromkeys(tuple(scopes) for way in security for scopes in way.values()))


def _body(described: Mapping[str, Any]) -> tuple[str, bytes] | None:
    content = described.get("requestBody", {}).get("content", {})
    for media, body in content.items():
        if media == "application/json":
            return media, msgspec.json.encode(body["example"])
        if media.endswith("x-www-form-urlencoded"):
            return media, urlencode(body["example"]).encode()
    return None


def expected(one: Called, access: Access) -> tuple[int, str] | str:
    """Returns the refusal of a key, its status and code; `LET_IN` where it is for the operation."""
    # A HEAD of a postback is answered and records nothing, whoever asks.
    if one.ways is None or (one.method == "HEAD" and "keyInQuery" in one.schemes):
        return LET_IN
    if "client" in one.schemes:
        return CLIENTS_ONLY
    if access.validity != "valid" or (one.by_session and not access.session):
        return 401, "unauthorized"
    allowed = any(set(way) <= access.held for way in one.ways)
    if not allowed or (one.live_only and access.test):
        return 403, "forbidden"
    # A key that is bound to an affiliate sees itself, and what is narrowed to that.
    if access.affiliate and not one.narrows and one.ways != ((),):
        return 403, "forbidden"
    return LET_IN


def refused_field(one: Called, access: Access) -> str | None:
    """Returns the field by which an operation refuses what an expected key asks for.

    '' where no field is named, None where it is not refused.
    """
    if one.id == "postAdjustments" and not access.held & {"conversions:write", "admin"}:
        # The example is no payout.
        return "kind"
    if one.id in _OF_CAMPAIGN_1 and one.method != "HEAD" and access.campaign not in (0, 1):
        return ""
    if one.id == "createUser":
        # The example is a manager, who may do more, and may stay for longer than a token.
        if "admin" not in access.scopes:
            return "role"
        return "expires_at" if access.token else None
    if one.id not in ("createApiKey", "createOauthClient"):
        return None
    # The example is live and has another scope, is bound to no campaign, and never expires.
    lacking = (
        (access.test, "test"),
        (access.campaign, "campaign_id"),
        ("admin" not in access.scopes, "scopes"),
        (access.token, "expires_at"),
    )
    return next((field for lacks, field in lacking if lacks), None)
