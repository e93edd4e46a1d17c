"""The operations of an edge, for its OpenAPI document."""

from typing import Any

import msgspec

from ingest.clicks.http import LinkPreview
from ingest.conversions.batch import BODY_MAX_BYTES
from ingest.conversions.body import ALIASES, ConversionPost
from ingest.oauth import operations as oauth
from ingest.postbacks.dialects import DIALECTS, OWN_PARAMETERS, OWN_TEXTS
from ingest.postbacks.http import SCOPES as POSTBACK_SCOPES
from linkjolt.api import resources
from linkjolt.conversions import adjustments_api as adjustments
from linkjolt.conversions import api as conversions
from linkjolt.conversions.answer import EXAMPLE, ConversionAnswer
from linkjolt.conversions.api import PATH
from linkjolt.conversions.forms import SCOPE
from linkjolt.reasons import FieldError, Problem, Reason, Rejected
from linkjolt.web.openapi import JSON, Body, Method, Operation, Parameter, of, text_body
from linkjolt.web.openapi_page import own_operations
from linkjolt.web.requests import NDJSON

_POST: dict[str, Any] = {
    "tracking_code": "tc_ABC123",
    "order_value": 99.99,
    "order_id": "order_12345",
    "customer_email": "customer@example.com",
}
_LINES = (
    '{"tracking_code":"tc_ABC123","order_id":"order_1","order_value":"20.00"}\n'
    '{"tracking_code":"tc_ABC123","order_id":"order_2","order_value":"35.50"}\n'
)
_FORM = "application/x-www-form-urlencoded"
_PREVIEW = {
    "tracking_code": "tc_ABC123",
    "destination": "https://shop.example/product?ref={affiliate_id}",
    "campaign_id": "cmp_1",
    "affiliate_id": "aff_1",
    "active": True,
}
_CLICK = "06EZ3GQ8N4T5W1Y7B2C9D0F6H8"
_VOLUUM = {"cid": _CLICK, "payout": "9.90", "txid": "order_1"}
_DUB = {"clickId": _CLICK, "amount": 990, "currency": "usd", "invoiceId": "in_1"}
_POSTBACK_PARAMETERS = {
    "key": "An API key with the scope `postback`, unless `key_id`, `ts` and `sig` sign the call.",
    "key_id": "The key that signs the call, such as `key_2`.",
    "ts": "The time of the signature in seconds since 1970, at most 5 minutes off.",
    "sig": "The signature by the key's `signing_secret`, as the last parameter: HMAC-SHA256 in"
    " hexadecimal over five lines, which are `ts`, method, path, the query before `&sig=`, and the"
    " SHA-256 of the body in hexadecimal.",
    "return": "The text to answer with, `OK` by default.",
    "click_id": "The click that earned the conversion.",
    "tracking_code": "The tracking link, where no click is known.",
    "payout": "The order value in major units; also `amount`. A negative one is a refund.",
    "amount": "The order value in major units.",
    "order_value": "The order value in major units.",
    "order_id": "The order; by default the click id.",
    "currency": "ISO 4217; by default the campaign's.",
    "status": "A status in the sender's words, such as `approved`, `declined` or `refunded`.",
    "event": "The event, by default `sale`.",
    "coupon_code": "The coupon that the customer used.",
    "customer_id": "The shop's id of the customer.",
    "customer_email": "The customer's e-mail address, of which only a keyed hash is stored.",
    "timestamp": "Seconds or milliseconds since 1970, or RFC 3339; by default now.",
    **{f"adv{n}": "A text of the advertiser's own." for n in range(1, 6)},
}


class ConversionResultAnswer(msgspec.Struct, frozen=True):
    """The result of one entry of many: its conversion, or why it was refused."""

    status: int
    conversion: ConversionAnswer | None = None
    code: Reason | None = None
    errors: tuple[FieldError, ...] = ()


class ConversionBatchAnswer(msgspec.Struct, frozen=True):
    """The answer to many conversions at once: a result for each, in order."""

    data: list[ConversionResultAnswer]
    accepted: int
    rejected: int


class BrokenBatchAnswer(Problem, frozen=True, kw_only=True):
    """Why a body was not read to its end, with the results of the entries before."""

    data: list[ConversionResultAnswer]
    accepted: int
    rejected: int


def operations() -> list[Operation]:
    """The operation of every route of `app.routed`."""
    of_conversions = [_post_conversions(), *conversions.OPERATIONS, *adjustments.OPERATIONS]
    found = [*_links(), *of_conversions, *_postbacks(), _pixel(), *oauth.OPERATIONS]
    return [*found, *resources.operations(), *own_operations(), *_files()]


def _post_conversions() -> Operation:
    return Operation(
        id="postConversions",
        tag="Conversions",
        method="POST",
        path=PATH,
        summary="Post conversions.",
        description="Records a conversion, an array of up to 1,000, or up to 10,000 lines of"
        " NDJSON. The answer follows when the conversion is on disk; the same order again answers"
        " 200 with `duplicate`, an order with other content 409. Several conversions answer 200"
        " with a result each. Fields that are null or an empty text are absent; identifiers are"
        " trimmed, and may be whole numbers.",
        scope=SCOPE,
        parameters=[
            Parameter(
                "Idempotency-Key",
                "Makes a retry of one conversion answer as the first attempt did.",
                {"type": "string", "minLength": 1, "maxLength": 255},
                "header",
            )
        ],
        bodies=[
            of(ConversionPost, list[ConversionPost], example=_POST, aliases=ALIASES),
            *(text_body(_LINES, media) for media in NDJSON),
        ],
        answers=_post_answers(),
        refusals=(409, 429),
        texts={
            200: "Recorded before, or the results of several conversions.",
            413: "The body is too large. Of NDJSON the lines before have their results.",
        },
    )


def _post_answers() -> dict[int, Body]:
    refused = Rejected(Reason.body_too_large, f"the body is over {BODY_MAX_BYTES} bytes")
    results = {"data": [{"status": 201, "conversion": EXAMPLE}], "accepted": 1, "rejected": 0}
    return {
        200: of(ConversionAnswer, ConversionBatchAnswer, example={**EXAMPLE, "duplicate": True}),
        201: of(ConversionAnswer, example=EXAMPLE),
        202: of(ConversionAnswer, example={**EXAMPLE, "status": "queued"}),
        413: Body(
            types=(BrokenBatchAnswer, Problem),
            media="application/problem+json",
            example={**msgspec.to_builtins(refused.problem("5f0c2a9be1d34708")), **results},
        ),
    }


def _postbacks() -> list[Operation]:
    verbs: tuple[tuple[Method, str], ...] = (("GET", "receivePostback"), ("POST", "postPostback"))
    return [
        _postback(method, id + by, path, by)
        for path, by in (("/postback", ""), ("/postback/{dialect}", "InDialect"))
        for method, id in verbs
    ]


def _postback(method: Method, id: str, path: str, by: str) -> Operation:
    names = "a vendor's parameter names" if by else "LinkJolt's parameter names"
    vendors = (
        f" The dialects are {', '.join(DIALECTS)}; docs/postbacks.md has theirs." if by else ""
    )
    more = " or in the body, which never overrides the query" if method == "POST" else ""
    text = text_body("OK")
    form: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
    plain: dict[str, Any] = {
        "type": "object",
        "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "number"}]},
    }
    own = {"click_id": _CLICK, "payout": "9.90"}
    bodies = [
        Body(media=_FORM, schema=form, example=_VOLUUM if by else own),
        Body(media=JSON, schema=plain, example=_DUB if by else own),
    ]
    return Operation(
        id=id,
        tag="Postbacks",
        method=method,
        path=path,
        summary=f"Receive a postback by {names}.",
        description="Records a conversion, or changes the one of the same click and order, by"
        f" parameters in the query{more}.{vendors}",
        scope=" or ".join(POSTBACK_SCOPES),
        key_in_query=True,
        parameters=_postback_parameters(),
        bodies=bodies if method == "POST" else (),
        answers={200: text},
        refusals=(404, 409, 429),
        texts={200: "Recorded."},
    )


def _postback_parameters() -> list[Parameter]:
    names = ("key", "key_id", "ts", "sig", "return", *OWN_PARAMETERS, *OWN_TEXTS)
    return [Parameter(name, _POSTBACK_PARAMETERS[name]) for name in names]


def _pixel() -> Operation:
    pixel = Body(media="image/gif", schema={"type": "string", "format": "binary"}, example="GIF89a")
    return Operation(
        id="trackPixel",
        tag="Postbacks",
        method="GET",
        path="/p.gif",
        summary="Record a conversion from a tracking pixel.",
        description="Answers an image whatever happens; a conversion is recorded where its click"
        " is genuine. An address that sends over 20 others in a minute gets 429 with the image,"
        " whether the click is genuine or not.",
        parameters=_postback_parameters(),
        answers={200: pixel, 429: pixel},
        texts={429: "The image; the address sent many click ids that were not genuine."},
        headers={429: ("Retry-After",)},
    )


def _links() -> list[Operation]:
    verbs: tuple[tuple[Method, str, str], ...] = (
        ("GET", "follow", "Follow a tracking link."),
        ("HEAD", "check", "Check where a tracking link leads."),
    )
    return [
        Operation(
            id=f"{verb}{noun}",
            tag="Tracking links",
            method=method,
            path=path,
            summary=summary,
            description="Redirects to the destination and records the click; with `+` after the"
            " code it shows the link instead, and nothing is counted. `notrack=1` redirects"
            " without recording.",
            answers={200: of(LinkPreview, example=_PREVIEW), 302: None},
            refusals=(404, 410),
            texts={200: "The link; nothing was counted."},
            headers={
                200: ("X-Robots-Tag",),
                302: ("Location", "Cache-Control", "X-Robots-Tag"),
            },
        )
        for path, noun in (("/{tracking_code}", "Link"), ("/c/{tracking_code}", "LinkAlias"))
        for method, verb, summary in verbs
    ]


def _files() -> list[Operation]:
    advice: list[dict[str, Any]] = [{"user_agent": "prefetch-proxy", "disallow": True}]
    return [
        Operation(
            id="getRobots",
            tag="Server",
            method="GET",
            path="/robots.txt",
            summary="Get the rules for robots.",
            description="Asks robots not to follow tracking links.",
            answers={200: text_body("User-agent: *\nDisallow: /\n")},
        ),
        Operation(
            id="getTrafficAdvice",
            tag="Server",
            method="GET",
            path="/.well-known/traffic-advice",
            summary="Get the advice for prefetch proxies.",
            description="Asks prefetch proxies not to load tracking links on their own.",
            answers={
                200: Body(
                    media="application/trafficadvice+json",
                    schema={"type": "array", "items": {"type": "object"}},
                    example=advice,
                )
            },
        ),
    ]
