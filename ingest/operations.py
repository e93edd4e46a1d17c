"""The operations of an edge, for its OpenAPI document."""

import msgspec

from ingest.clicks.http import Preview
from ingest.conversions.body import ConversionPost
from ingest.postbacks.dialects import OWN
from linkjolt.api.operations import conversion_operations, registry_operations
from linkjolt.conversions.answer import ConversionAnswer
from linkjolt.conversions.api import PATH, SCOPE
from linkjolt.reasons import FieldError, Reason
from linkjolt.web.openapi import Body, Operation, Parameter, of, text_body
from linkjolt.web.openapi_page import own_operations

_REDIRECTED = {
    200: of(Preview),
    302: None,
}
_PIXEL = Body(media="image/gif", schema={"type": "string", "format": "binary"})
_FORM = "application/x-www-form-urlencoded"


class _Result(msgspec.Struct, frozen=True):
    """A result of one entry of many: its conversion, or why it was refused."""

    status: int
    conversion: ConversionAnswer | None = None
    code: Reason | None = None
    errors: tuple[FieldError, ...] = ()


class _Batch(msgspec.Struct, frozen=True):
    """The answer to many at once: a result for each, in order."""

    data: list[_Result]
    accepted: int
    rejected: int


def operations() -> list[Operation]:
    """Every route of `app.routed`."""
    found = [*own_operations(), *_conversions(), *conversion_operations(), *_postbacks()]
    return [*found, *registry_operations(), *_links()]


def _conversions() -> list[Operation]:
    return [
        Operation(
            method="POST",
            path=PATH,
            summary="Takes a conversion, an array of up to 1,000, or up to 10,000 as NDJSON.",
            scope=SCOPE,
            bodies=[
                of(ConversionPost, list[ConversionPost]),
                Body(media="application/x-ndjson", schema={"type": "string"}),
            ],
            answers={
                200: of(ConversionAnswer, _Batch),
                201: of(ConversionAnswer),
                202: of(ConversionAnswer),
            },
            refusals=(409,),
        )
    ]


def _postbacks() -> list[Operation]:
    names = ("key", "return", *OWN)
    query = [Parameter(name, "See docs/postbacks.md.") for name in names]
    said = text_body()
    found: list[Operation] = []
    for path in ("/postback", "/postback/{dialect}"):
        found.append(
            Operation(
                method="GET",
                path=path,
                summary="Takes a conversion as networks and trackers tell of it.",
                query=query,
                answers={200: said, 202: said},
                refusals=(401, 403, 404, 409),
            )
        )
        found.append(
            Operation(
                method="POST",
                path=path,
                summary="The same, with parameters in the body too.",
                query=query,
                bodies=[
                    Body(media=_FORM, schema={"type": "object"}),
                    Body(schema={"type": "object"}),
                ],
                answers={200: said, 202: said},
                refusals=(401, 403, 404, 409),
            )
        )
    found.append(
        Operation(
            method="GET",
            path="/p.gif",
            summary="An image, always; takes a conversion if its click is genuine.",
            query=query,
            answers={200: _PIXEL},
        )
    )
    return found


def _links() -> list[Operation]:
    text = text_body()
    found = [
        Operation(
            method="GET",
            path="/robots.txt",
            summary="Asks robots to stay away.",
            answers={200: text},
        ),
        Operation(
            method="GET",
            path="/.well-known/traffic-advice",
            summary="Declines prefetch proxies.",
            answers={200: Body(media="application/trafficadvice+json", schema={"type": "array"})},
        ),
    ]
    for path in ("/c/{tracking_code}", "/{tracking_code}"):
        found += [
            Operation(
                method=method,
                path=path,
                summary="Redirects a visitor and records the click; with a `+` shows the link.",
                answers=_REDIRECTED,
                refusals=(404, 410),
            )
            for method in ("GET", "HEAD")
        ]
    return found
