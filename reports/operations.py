"""The operations of the reports listener, for its OpenAPI document."""

from collections.abc import Iterable
from types import GenericAlias
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from linkjolt.api import resources
from linkjolt.balance.balance import Balance
from linkjolt.conversions import adjustments_api as adjustments
from linkjolt.conversions import api as conversions
from linkjolt.conversions.answer import EXAMPLE
from linkjolt.conversions.api import PATH, READ_SCOPE
from linkjolt.web.openapi import Operation, Parameter, of, text_body
from linkjolt.web.openapi_page import own_operations
from reports import people
from reports.answer.report import ReportMeta
from reports.live.http import SCOPE as LIVE_SCOPE
from reports.log.audit import PARAMETERS as AUDITED_BY
from reports.log.audit import SCOPE as AUDIT_SCOPE
from reports.log.audit import AuditLogPage
from reports.log.conversion_request import PARAMETERS as LISTED_BY
from reports.log.conversions import ConversionListPage
from reports.log.event_request import PARAMETERS as LOGGED_BY
from reports.log.events import EventLogPage
from reports.query.request import PARAMETERS as REPORTED_BY
from reports.query.request import TOPS_PARAMETERS as TOPS_BY
from reports.vocabulary import COMPARES, DIMENSIONS, FORMATS, INTERVALS, METRICS, TIME_BASES

_SCOPE = "reports:read"
_PARAMETERS = {
    "from": "A preset such as `7d` or `mtd`, a date, or an instant (RFC 3339).",
    "to": "A date or an instant; a date's whole day is not in the period.",
    "timezone": "An IANA time zone, `UTC` by default.",
    "interval": f"One row per interval: {', '.join(INTERVALS)}.",
    "group_by": f"Up to three dimensions, separated by commas: {', '.join(DIMENSIONS)}.",
    "dimensions": f"Up to twelve dimensions, separated by commas: {', '.join(DIMENSIONS)}.",
    "metrics": f"Metrics, separated by commas: {', '.join(METRICS)}.",
    "time_basis": f"Which time counts for conversions: {' or '.join(TIME_BASES)}.",
    "sort": "A metric, a dimension of the report or `time`; with `-` the largest first.",
    "limit": "The largest number of rows in the page, at most 1,000.",
    "cursor": "`next_cursor` of the page before; absent for the first page.",
    "format": f"{' or '.join(FORMATS)}; CSV without `limit` and `cursor` has every row.",
    "compare": f"The period to compare with: {', '.join(COMPARES)}.",
    "q": "Only conversions with this text, in any letter case, in one of their ids or the coupon.",
    "kind": "`click` or `conversion`; both by default.",
    "verdict": "Only clicks with this verdict.",
    "attribution": "Only conversions attributed by this method.",
    "payout": "`paid` or `unpaid`.",
    "click_id": "Only events of this click.",
    "order_id": "Only events of this order.",
    "conversion_id": "Only events of this conversion.",
    "link": "Only events of the link with this tracking code.",
    "campaign_id": "Only events of this campaign.",
    "affiliate_id": "Only events of this affiliate.",
    "actor": "Only what this key did, `key_1`, or `cli` or `system`.",
    "operation": "Only this operation, by its id in this document.",
    "object": "Only what was done to this object, by its id.",
}
_CSV = "text/csv"
_COUNTS = {"accepted": 1204, "stored": 1203, "rejected": 0, "waiting": 1, "difference": 0}
_BALANCE: dict[str, Any] = {
    "streams": [
        {
            "stream": "clicks/0",
            **_COUNTS,
            "waiting_estimated": False,
            "oldest_waiting_ms": 1777888800000,
            "hours": [{"hour": "2026-05-04T10:00:00Z", **_COUNTS}],
        }
    ],
    "as_of": "2026-05-04T10:00:01Z",
    "spooled": 12,
    "shed": 0,
    "stale": [{"where": "spool of edge 3", "events": 12, "seconds": 400.5}],
}
_META: dict[str, Any] = {
    "data_as_of": "2026-05-04T10:00:00Z",
    "source": "rollup",
    "elapsed_ms": 4,
    "timezone": "UTC",
    "incomplete": False,
    "from": "2026-05-01T00:00:00Z",
    "to": "2026-05-04T00:00:00Z",
    "interval": "none",
    "time_basis": "conversion",
    "compared": None,
    "notes": {},
}
_ROW: dict[str, Any] = {
    "country": "US",
    "clicks": 1204,
    "conversions": 31,
    "revenue": 2954.5,
    "currency": "USD",
}


def _report_row() -> type[msgspec.Struct]:
    """A row has `time`, the dimensions and the metrics that the report was asked for.

    `previous` are its metrics in the period compared with. Money of several currencies is null,
    with `currencies` beside it.
    """
    money: list[tuple[str, Any, Any]] = [
        ("currencies", GenericAlias(list, (str,)) | UnsetType, UNSET),
        *((name, float | None | UnsetType, UNSET) for name in METRICS),
    ]
    texts = dict.fromkeys(
        ("time", *DIMENSIONS, "campaign_name", "affiliate_name", "currency"),
    )
    fields: list[tuple[str, Any, Any]] = [
        *((name, str | int | None | UnsetType, UNSET) for name in texts),
        *money,
        ("previous", dict[str, float | str | list[str] | None] | UnsetType, UNSET),
    ]
    return msgspec.defstruct("ReportRow", fields, namespace={"__doc__": _report_row.__doc__})


_ROWS: Any = _report_row()
_REPORT = msgspec.defstruct(
    "Report",
    [
        ("data", GenericAlias(list, (_ROWS,))),
        ("totals", _ROWS),
        ("next_cursor", str | None),
        ("meta", ReportMeta),
    ],
    namespace={"__doc__": "A report: a page of its rows, and the totals of all rows."},
)
_TOPS = msgspec.defstruct(
    "TopRows",
    [("data", GenericAlias(dict, (str, GenericAlias(list, (_ROWS,))))), ("meta", ReportMeta)],
    namespace={"__doc__": "By dimension its first rows."},
)


def operations() -> list[Operation]:
    """The operation of every route of `app.create_app`."""
    return [
        _report(),
        _tops(),
        _conversions(),
        _log(),
        _live(),
        _balance(),
        _audit_log(),
        *conversions.OPERATIONS,
        *adjustments.OPERATIONS,
        *people.OPERATIONS,
        *resources.operations(),
        *own_operations(),
        *_dashboard(),
    ]


def _parameters(names: Iterable[str]) -> list[Parameter]:
    filters = "Only this value, or several separated by commas; with `-` before it, all but it."
    return [Parameter(name, _PARAMETERS.get(name, filters)) for name in dict.fromkeys(names)]


_IF_NONE_MATCH = Parameter(
    "If-None-Match", "The `ETag` of a copy: 304 where it is current.", place="header"
)
_REPORT_HEADERS = ("ETag", "X-Data-As-Of")
_CSV_HEADERS = ("Content-Disposition", "X-Next-Cursor")


def _report() -> Operation:
    example = {"data": [_ROW], "totals": _ROW, "next_cursor": None, "meta": _META}
    header = '"country","clicks","conversions","revenue","currency"\r\n'
    rows = f'{header}"US",1204,31,2954.50,"USD"\r\n'
    return Operation(
        id="getReport",
        tag="Reports",
        method="GET",
        path="/v1/reports",
        summary="Get a report.",
        description="Sums clicks, conversions and money over a period, by up to three dimensions"
        " and by interval, as JSON or CSV.",
        scope=_SCOPE,
        narrows=True,
        parameters=[*_parameters(REPORTED_BY), _IF_NONE_MATCH],
        answers={200: (of(_REPORT, example=example), text_body(rows, _CSV)), 304: None},
        refusals=(429,),
        headers={200: (*_REPORT_HEADERS, *_CSV_HEADERS[:2]), 304: ("ETag", "X-Data-As-Of")},
    )


def _tops() -> Operation:
    example = {"data": {"country": [_ROW]}, "meta": _META}
    return Operation(
        id="getTopRows",
        tag="Reports",
        method="GET",
        path="/v1/reports/top",
        summary="Get the first rows by several dimensions.",
        description="Returns the first rows by each of up to twelve dimensions at once.",
        scope=_SCOPE,
        narrows=True,
        parameters=[*_parameters(TOPS_BY), _IF_NONE_MATCH],
        answers={200: of(_TOPS, example=example), 304: None},
        refusals=(429,),
        headers={200: _REPORT_HEADERS, 304: ("ETag", "X-Data-As-Of")},
    )


def _conversions() -> Operation:
    listed: dict[str, Any] = {
        **{name: value for name, value in EXAMPLE.items() if name != "duplicate"},
        "payout": "unpaid",
        "affiliate_name": "Coupon Corner",
        "campaign_name": "Spring sale",
        "tracking_code": "tc_ABC123",
        "verified": True,
        "clawback": 0,
        "commission_rule": 1,
        "commission_reason": None,
        **dict.fromkeys(("rate", "rate_from", "rate_to", "customer", "customer_id", "coupon_code")),
        **dict.fromkeys((f"adv{number}" for number in range(1, 6)), None),
        "items": None,
        "metadata": None,
        "notes": [],
        "adjustments": 0,
    }
    meta = {"data_as_of": "2026-05-04T10:00:00Z"}
    example = {"data": [listed], "total": 1, "next_cursor": None, "meta": meta}
    rows = '"conversion_id","status"\r\n"conv_06EZ3GQ8N4T5W1Y7B2C9D0F6H8","pending"\r\n'
    return Operation(
        id="listConversions",
        tag="Conversions",
        method="GET",
        path=PATH,
        summary="List conversions.",
        description="Returns conversions as they are now, the newest first by default, as JSON or"
        " CSV. `sort` is by `time`, `order_value`, `net_value` or `commission_amount`, amounts in"
        " minor units of their currencies.",
        scope=READ_SCOPE,
        narrows=True,
        parameters=_parameters(LISTED_BY),
        answers={200: (of(ConversionListPage, example=example), text_body(rows, _CSV))},
        refusals=(429,),
        headers={200: _CSV_HEADERS},
    )


def _log() -> Operation:
    logged: dict[str, Any] = {
        "type": "click",
        "time": "2026-05-04T10:00:00Z",
        "click_id": "06EZ3GQ8N4T5W1Y7B2C9D0F6H8",
        "of": {
            "tracking_code": "tc_ABC123",
            "campaign_id": "cmp_1",
            "campaign_name": "Spring sale",
            "affiliate_id": "aff_1",
            "affiliate_name": "Coupon Corner",
        },
        "judged": {"verdict": "human", "reason": None, "sentence": "", "ruleset": 1},
        "ip": "203.0.113.0",
        "country": "US",
        "region": "",
        "language": "en",
        "device": "desktop",
        **{"os": "Linux", "browser": "Firefox"},
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "referrer": "blog.example",
        "parameters": {"sub1": "mail"},
    }
    meta = {"data_as_of": "2026-05-04T10:00:00Z", "incomplete": False}
    page = of(EventLogPage, example={"data": [logged], "next_cursor": None, "meta": meta})
    rows = '"type","time"\r\n"click","2026-05-04T10:00:00Z"\r\n'
    return Operation(
        id="listEvents",
        tag="Events",
        method="GET",
        path="/v1/events",
        summary="List events.",
        description="Returns all recorded events, the newest first, as JSON or CSV.",
        scope="events:read",
        narrows=True,
        parameters=_parameters(LOGGED_BY),
        answers={200: (page, text_body(rows, _CSV))},
        refusals=(429,),
        headers={200: _CSV_HEADERS},
    )


def _live() -> Operation:
    stream = 'event: counters\nid: 0.0\ndata: {"clicks":1204}\n\n'
    return Operation(
        id="streamEvents",
        tag="Events",
        method="GET",
        path="/v1/live",
        summary="Stream events as they are stored.",
        description="Sends server-sent events: each event as it is stored, counters, and how"
        " fresh the reports are. The stream stays open until the client leaves, or the key is"
        " revoked or expires.",
        scope=LIVE_SCOPE,
        narrows=True,
        parameters=[
            Parameter(
                "Last-Event-ID",
                "The `id` of the last event received: those missed since are sent first.",
                place="header",
            )
        ],
        answers={200: text_body(stream, "text/event-stream")},
        refusals=(422, 429),
    )


def _balance() -> Operation:
    return Operation(
        id="getBalance",
        tag="Events",
        method="GET",
        path="/v1/balance",
        summary="Get the balance of the streams.",
        description="Shows by stream and hour that accepted = stored + rejected + waiting, for the"
        " whole installation: only keys of the first account may read it. `stale` names the streams"
        " and spools in which an event waits for longer than `LINKJOLT_STALE_AFTER_SECONDS`.",
        scope=_SCOPE,
        answers={200: of(Balance, example=_BALANCE)},
        refusals=(429,),
    )


def _audit_log() -> Operation:
    record: dict[str, Any] = {
        "seq": 57,
        "at": "2026-05-04T10:00:00Z",
        **{"actor": "key_1", "actor_name": "Shop backend"},
        **{"operation": "updateLink", "object": "lnk_1"},
        "changes": {"status": {"before": "active", "after": "disabled"}},
        "status": 200,
        "request_id": "5f0c9d2e00a41b7c",
        "address": "203.0.113.0",
        "key_hint": None,
        "count": 1,
        "hash": "9b1f6c0d" * 8,
    }
    return Operation(
        id="listAuditLog",
        tag="Audit log",
        method="GET",
        path="/v1/audit",
        summary="List who changed what.",
        description="Returns every write of the account but posted events, and the refused"
        " authentications by minute, the newest first, as JSON or CSV.",
        scope=AUDIT_SCOPE,
        live_only=True,
        parameters=_parameters(AUDITED_BY),
        answers={
            200: (
                of(AuditLogPage, example={"data": [record], "next_cursor": None}),
                text_body('"seq","at"\r\n57,"2026-05-04T10:00:00.000Z"\r\n', _CSV),
            )
        },
        refusals=(429,),
        headers={200: _CSV_HEADERS},
    )


def _dashboard() -> list[Operation]:
    return [
        Operation(
            id="getDashboard",
            tag="Server",
            method="GET",
            path="/",
            summary="Open the dashboard.",
            description="Returns the page of the dashboard.",
            answers={200: text_body("<!doctype html>", "text/html"), 304: None},
            headers={200: ("ETag",), 304: ("ETag",)},
        ),
        Operation(
            id="getAsset",
            tag="Server",
            method="GET",
            path="/assets/{name}",
            summary="Get a file of the dashboard.",
            description="Returns a script, a style sheet or an image of the dashboard.",
            answers={
                200: (
                    text_body("export {};", "text/javascript"),
                    text_body("body {}", "text/css"),
                    text_body("<svg/>", "image/svg+xml"),
                ),
                304: None,
            },
            refusals=(404,),
            headers={200: ("ETag",), 304: ("ETag",)},
        ),
    ]
