"""`POST /v1/links/bulk`: up to 1,000 links at once, one result each, in order."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from linkjolt.api.links import create_links
from linkjolt.api.registry_answers import (
    BulkAnswer,
    BulkCreated,
    BulkRefused,
    Limits,
    bulk_refused,
    link_answer,
)
from linkjolt.api.registry_forms import LinkForm
from linkjolt.reasons import Rejected
from linkjolt.registry.entries import Link
from linkjolt.registry.store import PAGE_MAX
from linkjolt.web.collections import Call
from linkjolt.web.requests import BODY_MAX_BYTES, decode, json_response, read_body, require_json

BULK_MAX = 1000
BATCH_MAX_BYTES = 10 << 20
LIMITS = Limits(
    body_max_bytes=BODY_MAX_BYTES,
    batch_max_bytes=BATCH_MAX_BYTES,
    bulk_links_max=BULK_MAX,
    page_max=PAGE_MAX,
)


class BulkForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entries are decoded one by one: a bad one does not sink the others."""

    links: Annotated[list[msgspec.Raw], Meta(max_length=BULK_MAX)]


async def create_bulk(call: Call) -> Response:
    """200 with a result for each entry; Rejected only for the body as a whole."""
    require_json(call.request)
    body = decode(await read_body(call.request, BATCH_MAX_BYTES), BulkForm)
    forms = [_form(entry) for entry in body.links]
    outcomes = await create_links(call.registry, call.account, forms, call.now)
    data = [_result(outcome, call.edge_url) for outcome in outcomes]
    rejected = sum(isinstance(result, BulkRefused) for result in data)
    return json_response(BulkAnswer(data=data, accepted=len(data) - rejected, rejected=rejected))


def _form(entry: msgspec.Raw) -> LinkForm | Rejected:
    try:
        return decode(bytes(entry), LinkForm)
    except Rejected as error:
        return error


def _result(outcome: Link | Rejected, edge_url: str) -> BulkCreated | BulkRefused:
    if isinstance(outcome, Rejected):
        return bulk_refused(outcome)
    return BulkCreated(link=link_answer(outcome, edge_url))
