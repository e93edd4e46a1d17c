"""`POST /v1/links/bulk`: up to 1,000 links at once, one result each, in order."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from linkjolt.api.links import (
    EXAMPLE,
    FORM_EXAMPLE,
    LinkAnswer,
    LinkForm,
    create_links,
    link_answer,
)
from linkjolt.reasons import Reason, RefusedEntry, Rejected
from linkjolt.registry.entries import Link
from linkjolt.runtime.loop_slices import LoopSlices, in_slices
from linkjolt.web.collections import Call, Endpoint
from linkjolt.web.json_structure import check_structure
from linkjolt.web.openapi import Operation, of, results_of
from linkjolt.web.requests import (
    BODY_MAX_BYTES,
    check_size,
    decode,
    decode_value,
    json_response,
    read_body,
    require_json,
)

BULK_MAX = 1000
BATCH_MAX_BYTES = 10 << 20
# Entries are decoded one by one: the schema says what they are.
_LINKS = Meta(
    max_length=BULK_MAX,
    extra_json_schema={"items": {"$ref": "#/components/schemas/LinkForm"}},
)


class LinksBulkForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tracking links to create; a refused one does not hold up the others."""

    links: Annotated[list[msgspec.Raw], _LINKS]


class LinkCreatedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One of many links, created."""

    status: int = 201
    link: LinkAnswer


class LinksBulkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One result per entry, in order."""

    data: list[LinkCreatedAnswer | RefusedEntry]
    accepted: int
    rejected: int


async def _create(call: Call) -> Response:
    """200 with a result for each entry; Rejected only for the body as a whole."""
    require_json(call.request)
    entries = await _read_entries(await read_body(call.request, BATCH_MAX_BYTES))
    slices = LoopSlices()
    forms = [_form(entry) async for entry in in_slices(entries, slices)]
    outcomes = await create_links(call.registry, call.account, forms, call.now, call.edge_url)
    data = [_result(outcome, call.edge_url) async for outcome in in_slices(outcomes, slices)]
    rejected = sum(isinstance(result, RefusedEntry) for result in data)
    accepted = len(data) - rejected
    return json_response(LinksBulkAnswer(data=data, accepted=accepted, rejected=rejected))


async def _read_entries(body: bytes) -> list[msgspec.Raw]:
    if not await check_structure(body, level=2, entries_max=BULK_MAX):
        raise Rejected(Reason.invalid_field, f"has over {BULK_MAX} entries", field="links")
    entries = decode_value(body, LinksBulkForm).links
    # All colons but the one behind the name are in the entries, unless the name is repeated.
    if body.count(b":") != 1 + sum([bytes(entry).count(b":") for entry in entries]):
        raise Rejected(Reason.invalid_field, "is given twice", field="links")
    return entries


def _form(entry: msgspec.Raw) -> LinkForm | Rejected:
    try:
        check_size(len(bytes(entry)), BODY_MAX_BYTES)
        return decode(bytes(entry), LinkForm)
    except Rejected as error:
        return error


def _result(outcome: Link | Rejected, edge_url: str) -> LinkCreatedAnswer | RefusedEntry:
    if isinstance(outcome, Rejected):
        return outcome.entry()
    return LinkCreatedAnswer(link=link_answer(outcome, edge_url))


ENDPOINTS = [
    Endpoint(
        Operation(
            id="createLinksInBulk",
            tag="Links",
            method="POST",
            path="/v1/links/bulk",
            summary="Create up to 1,000 links.",
            description="Answers one result per entry, in order; some may be refused.",
            scope="links:write",
            live_only=True,
            bodies=[of(LinksBulkForm, example={"links": [FORM_EXAMPLE]})],
            answers={200: results_of(LinkCreatedAnswer, {"status": 201, "link": EXAMPLE})},
            refusals=(409,),
        ),
        _create,
    )
]
