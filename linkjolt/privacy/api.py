"""`/v1/privacy`: erases what is stored about a customer, or exports it."""

from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from linkjolt.privacy.customers import customer_hash
from linkjolt.privacy.jobs import (
    ExportedConversions,
    JobKind,
    JobState,
    PrivacyJob,
    PrivacyJobs,
    parse_job_id,
)
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.keyring import load_keyring
from linkjolt.web.collections import Call, Endpoint, Page, body_of, page_of
from linkjolt.web.forms import Instant
from linkjolt.web.openapi import Operation, of, paging
from linkjolt.web.openapi import page_of as page_body
from linkjolt.web.requests import json_response

SCOPE = "privacy:write"
_EMAIL_MAX_CHARACTERS = 320


class CustomerForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A customer, by the e-mail address, the id, or both."""

    customer_email: Annotated[str, Meta(min_length=1, max_length=_EMAIL_MAX_CHARACTERS)] | None = (
        None
    )
    customer_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


class PrivacyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: conversions, lines that could not be stored, claims of the customer.

    `log_rewritten`: Redis's log on disk was written anew.
    """

    conversions: int
    rejects: int
    claims: int
    log_rewritten: bool


class PrivacyJobAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure or export; `trimming` while the streams still hold what they stored."""

    id: str
    kind: JobKind
    state: JobState
    requested_at: Instant
    erased_at: Instant | None
    finished_at: Instant | None
    report: PrivacyReport


def _answer(job: PrivacyJob) -> PrivacyJobAnswer:
    return PrivacyJobAnswer(
        id=job.id,
        kind=job.kind,
        state=job.state,
        requested_at=job.requested_at,
        erased_at=job.erased_at,
        finished_at=job.finished_at,
        report=PrivacyReport(
            conversions=job.conversions,
            rejects=job.rejects,
            claims=job.claims,
            log_rewritten=job.log_rewritten,
        ),
    )


def _new_job(form: CustomerForm, kind: JobKind, call: Call, customer_key: bytes) -> PrivacyJob:
    email, customer_id = form.customer_email or "", (form.customer_id or "").strip()
    if not email.strip() and not customer_id:
        message = "or customer_id is required"
        raise Rejected(Reason.missing_field, message, field="customer_email")
    return PrivacyJob(
        number=0,
        account=call.account,
        kind=kind,
        customer_id=customer_id,
        customer=customer_hash(email, customer_key) if email.strip() else "",
        requested_at=call.now,
    )


async def _create(kind: JobKind, call: Call) -> Response:
    form = await body_of(call.request, CustomerForm)
    keyring = await load_keyring(call.registry.redis, call.registry.opener)
    job = _new_job(form, kind, call, keyring.customer_key)
    jobs = PrivacyJobs(call.registry.redis)
    return json_response(_answer(await jobs.create(job, call.registry.source)), 202)


async def _list(call: Call) -> Response:
    after, limit = page_of(call.request.query_params)
    jobs, end = await PrivacyJobs(call.registry.redis).page(call.account, after, limit)
    cursor = None if end is None else str(end)
    return json_response(Page(data=[_answer(job) for job in jobs], next_cursor=cursor))


async def _find(call: Call) -> PrivacyJob:
    number = parse_job_id(call.request.path_params["id"])
    job = await PrivacyJobs(call.registry.redis).read(call.account, number) if number else None
    if job is None:
        raise Rejected(Reason.not_found, "there is no such job")
    return job


async def _get(call: Call) -> Response:
    return json_response(_answer(await _find(call)))


async def _get_data(call: Call) -> Response:
    job = await _find(call)
    text = await PrivacyJobs(call.registry.redis).read_export(job.number)
    if text is None:
        message = "has no data: it is an erasure, not done yet, or over for more than 7 days"
        raise Rejected(Reason.not_found, message)
    return Response(b'{"data":%b}' % text, media_type="application/json")


_FORM: dict[str, Any] = {"customer_email": "customer@example.com"}
_EXAMPLE: dict[str, Any] = {
    "id": "prv_1",
    "kind": "erasure",
    "state": "pending",
    "requested_at": "2026-05-04T10:00:00Z",
    "erased_at": None,
    "finished_at": None,
    "report": {"conversions": 0, "rejects": 0, "claims": 0, "log_rewritten": False},
}
_DONE = {
    **_EXAMPLE,
    "state": "done",
    "erased_at": "2026-05-04T10:00:02Z",
    "finished_at": "2026-05-05T10:00:10Z",
    "report": {"conversions": 2, "rejects": 0, "claims": 3, "log_rewritten": True},
}
_EXPORTED: dict[str, Any] = {
    "conversion_id": "conv_06EZ3GQ8N4T5W1Y7B2C9D0F6H8",
    "time": "2026-05-04T10:00:00Z",
    "event": "sale",
    "order_id": "order_12345",
    "order_value": 99.99,
    "currency": "USD",
    "customer_id": "customer-1",
    "coupon_code": "",
    "items": "",
    "metadata": "",
    "advs": ["", "", "", "", ""],
    "click_id": "38HAGCP4G00000400G027DPV6Z",
    "country": "DE",
    "language": "de",
    "device": "desktop",
    "os": "Linux",
    "browser": "Firefox",
    "referrer_host": "blog.example",
}


def _create_operation(kind: JobKind, summary: str, description: str) -> Operation:
    return Operation(
        id=f"create{kind.capitalize()}",
        tag="Privacy",
        method="POST",
        path=f"/v1/privacy/{kind}s",
        summary=summary,
        description=description,
        scope=SCOPE,
        live_only=True,
        bodies=[of(CustomerForm, example=_FORM)],
        answers={202: of(PrivacyJobAnswer, example={**_EXAMPLE, "kind": kind})},
    )


ENDPOINTS = [
    Endpoint(
        _create_operation(
            "erasure",
            "Erase a customer.",
            "Removes the customer's id, the hash of the e-mail address, and the shop's texts from"
            " all conversions of the customer. Sums, orders and commissions stay.",
        ),
        partial(_create, "erasure"),
    ),
    Endpoint(
        _create_operation(
            "export",
            "Export a customer.",
            "Collects the conversions of the customer; the data can be read for 7 days.",
        ),
        partial(_create, "export"),
    ),
    Endpoint(
        Operation(
            id="listPrivacyJobs",
            tag="Privacy",
            method="GET",
            path="/v1/privacy/jobs",
            summary="List erasures and exports.",
            description="Returns the account's jobs by rising id, a page at a time.",
            scope=SCOPE,
            parameters=paging(),
            answers={200: page_body(PrivacyJobAnswer, _DONE)},
        ),
        _list,
    ),
    Endpoint(
        Operation(
            id="getPrivacyJob",
            tag="Privacy",
            method="GET",
            path="/v1/privacy/jobs/{id}",
            summary="Get an erasure or export.",
            description="Returns its state, and the report of what was found.",
            scope=SCOPE,
            answers={200: of(PrivacyJobAnswer, example=_DONE)},
            refusals=(404,),
        ),
        _get,
    ),
    Endpoint(
        Operation(
            id="getPrivacyExport",
            tag="Privacy",
            method="GET",
            path="/v1/privacy/jobs/{id}/data",
            summary="Get the data of an export.",
            description="Returns the conversions that were found, until 7 days after.",
            scope=SCOPE,
            answers={200: of(ExportedConversions, example={"data": [_EXPORTED]})},
            refusals=(404,),
        ),
        _get_data,
    ),
]
