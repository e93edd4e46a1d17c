"""Declares operations: what a route takes, answers and needs, for the OpenAPI document."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

Method = Literal["GET", "HEAD", "POST", "PATCH", "DELETE"]
# A JSON schema, for want of a type of its own (https://spec.openapis.org/oas/v3.1.0).
Schema = dict[str, Any]
JSON = "application/json"
# In the order in which the document shows them.
TAGS: dict[str, str] = {
    "Tracking links": "Follow a tracking link, or see where it leads.",
    "Conversions": "Post conversions, read them, adjust them, attribute them by hand.",
    "Postbacks": "Receive conversions from networks and trackers by their own parameter names.",
    "Reports": "Sum clicks, conversions and money by dimension and time.",
    "Events": "Read single events: the log, the live feed, the balance of the streams.",
    "Audit log": "Read who changed what, and whose credentials were refused.",
    "Campaigns": "Manage campaigns and the versions of their commission rules.",
    "Affiliates": "Manage affiliates, the partners who send traffic.",
    "Links": "Manage tracking links, one or many at once.",
    "Coupons": "Manage coupon codes that earn an affiliate a commission without a click.",
    "Rates": "Manage exchange rates, by which a commission's amounts are converted.",
    "People": "Manage the people who sign in, their roles and invitations.",
    "Sessions": "Sign in and out of the dashboard, and manage one's own password and codes.",
    "API keys": "Manage API keys, and see what a key may do.",
    "Privacy": "Erase what is stored about a customer, or export it.",
    "OAuth": "Manage OAuth clients, and exchange their secrets for access tokens.",
    "Webhooks": "Manage webhook endpoints, their deliveries and their secrets.",
    "Server": "Check the health of a listener, read its metrics and this documentation.",
}
# Response headers, with what each says.
HEADERS: dict[str, str] = {
    "X-Request-Id": "Identifies the request; problems repeat it as `request_id`.",
    "Retry-After": "Seconds to wait before the next attempt.",
    "RateLimit-Policy": "The limits of the request's key and account: `q` requests in `w` seconds.",
    "RateLimit": "What is left of each limit: `r` requests at once, and all of it in `t` seconds.",
    "X-RateLimit-Limit": "Requests a minute of the limit of which the least is left.",
    "X-RateLimit-Remaining": "The requests that are left of it at once.",
    "X-RateLimit-Reset": "When all of them are there again, in seconds since 1970.",
    "WWW-Authenticate": "How to authenticate (RFC 6750; RFC 7617 for clients).",
    "Cache-Control": "Mostly `no-store`: no cache may keep the answer.",
    "X-Content-Type-Options": "Always `nosniff`: the answer is what its `Content-Type` says.",
    "Pragma": "Always `no-cache`, for caches that know only HTTP/1.0.",
    "Accept-Encoding": "Always `identity`: bodies with a `Content-Encoding` are not read.",
    "Location": "The destination, with its macros filled in.",
    "X-Robots-Tag": "Always `noindex`: search engines must not list tracking links.",
    "ETag": "Identifies this content; send it back as `If-None-Match`.",
    "X-Data-As-Of": "Every event before this instant is in the report.",
    "X-Next-Cursor": "The cursor of the next page of a CSV; absent on the last page.",
    "Content-Disposition": "The suggested file name.",
    "Set-Cookie": "The session's cookie: `HttpOnly`, `SameSite=Strict`, over https `Secure`.",
}


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body of one media type: any one of some msgspec types, or as `schema` describes it.

    Shaped as a `page` it is a list of these, as `counted` one with their total; as `results`, one
    for each of many entries, some of which may have been refused. `aliases` are further names of
    fields, with the field's own name.
    """

    types: tuple[object, ...] = ()
    media: str = JSON
    schema: Schema | None = None
    shape: Literal["one", "page", "counted", "results"] = "one"
    example: object = None
    aliases: Mapping[str, str] = {}
    description: str = ""


def of(*types: object, example: object, aliases: Mapping[str, str] | None = None) -> Body:
    """Declares a JSON body that is one of these types."""
    return Body(types=types, example=example, aliases=aliases or {})


def text_body(example: str, media: str = "text/plain") -> Body:
    """Declares a body that is a text."""
    return Body(media=media, schema={"type": "string"}, example=example)


def page_of(kind: object, example: object) -> Body:
    """Declares the answer of a list of these, given an example of one entry."""
    return Body(types=(kind,), shape="page", example={"data": [example], "next_cursor": None})


def counted_page_of(kind: object, example: object) -> Body:
    """Declares the answer of a list of these that counts the entries of all pages."""
    content = {"data": [example], "total": 1, "next_cursor": None}
    return Body(types=(kind,), shape="counted", example=content)


def results_of(kind: object, example: object) -> Body:
    """Declares the answer to many at once: one of these for each entry that was accepted."""
    content = {"data": [example], "accepted": 1, "rejected": 0}
    return Body(types=(kind,), shape="results", example=content)


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of the query or a request header; a string unless its schema differs."""

    name: str
    description: str
    schema: Schema = msgspec.field(default_factory=lambda: {"type": "string"})
    place: Literal["query", "header"] = "query"
    required: bool = False


Answer = Body | tuple[Body, ...] | None


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path. `scope` is the key's: None for no key, '' for any valid key.

    Scopes are joined by ` and ` where a key needs all of them, by ` or ` where it needs one.
    `live_only` operations are about what is live, and refuse test keys. `narrows`: keys bound to an
    affiliate are answered what is of it; all other operations with a scope refuse them.
    `key_in_query`: the key may be a parameter of the query, too. `for_clients` operations need the
    id and secret of an OAuth client instead. `by_session`: only a person who has signed in,
    no key.

    `answers` are by status, None for an empty one, several where the media type varies;
    `refusals` are statuses of problems beside those that every operation has. `texts` and
    `headers` add to a status its description and the response headers that are sent with it.
    """

    id: str
    tag: str
    method: Method
    path: str
    summary: str
    description: str
    answers: Mapping[int, Answer]
    scope: str | None = None
    live_only: bool = False
    narrows: bool = False
    key_in_query: bool = False
    for_clients: bool = False
    by_session: bool = False
    bodies: Sequence[Body] = ()
    parameters: Sequence[Parameter] = ()
    refusals: Sequence[int] = ()
    texts: Mapping[int, str] = {}
    headers: Mapping[int, Sequence[str]] = {}


def paging() -> tuple[Parameter, ...]:
    """Declares the parameters of every list."""
    return (
        Parameter(
            "limit",
            "The largest number of entries in the page.",
            {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
        ),
        Parameter("cursor", "`next_cursor` of the page before; absent for the first page."),
    )
