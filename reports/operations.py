"""The operations of the reports listener, for its OpenAPI document."""

from linkjolt.api.operations import conversion_operations, registry_operations
from linkjolt.balance.balance import Balance
from linkjolt.conversions.api import PATH, READ_SCOPES
from linkjolt.web.openapi import Body, Operation, Parameter, of, text_body
from linkjolt.web.openapi_page import own_operations
from reports.live.live import SCOPES as LIVE_SCOPES
from reports.log.conversion_request import PARAMETERS as LISTED_BY
from reports.log.conversions import Page
from reports.log.log import LogPage
from reports.log.request import PARAMETERS as LOGGED_BY
from reports.query.request import PARAMETERS as REPORTED_BY
from reports.query.top_request import PARAMETERS as TOPS_BY

_SCOPE = "reports:read"


def _page() -> list[Operation]:
    return [
        Operation(
            method="GET",
            path="/",
            summary="The dashboard.",
            answers={200: text_body("text/html")},
        ),
        Operation(
            method="GET",
            path="/assets/{name}",
            summary="A file of the dashboard.",
            answers={200: text_body("text/javascript")},
            refusals=(404,),
        ),
    ]


def operations() -> list[Operation]:
    """Every route of `app.create_app`."""
    return [
        *own_operations(),
        *_page(),
        *_reports(),
        *_events(),
        *conversion_operations(),
        *registry_operations(),
    ]


def _reports() -> list[Operation]:
    # Rows carry the dimensions and metrics that were asked for.
    report = Body(schema={"type": "object", "required": ["data", "totals", "meta"]})
    return [
        Operation(
            method="GET",
            path="/v1/reports",
            summary="Sums of clicks, conversions and money by up to three dimensions.",
            scope=_SCOPE,
            query=[Parameter(name, "See the README.") for name in REPORTED_BY],
            answers={200: report},
        ),
        Operation(
            method="GET",
            path="/v1/reports/top",
            summary="The first rows by each of several dimensions, at once.",
            scope=_SCOPE,
            query=[Parameter(name, "As for /v1/reports; see docs/reports.md.") for name in TOPS_BY],
            answers={200: Body(schema={"type": "object", "required": ["data", "meta"]})},
        ),
    ]


def _events() -> list[Operation]:
    return [
        Operation(
            method="GET",
            path="/v1/events",
            summary="The log: every recorded request, conversion and adjustment, the newest first.",
            scope="events:read",
            query=[Parameter(name, "One value, or an instant.") for name in LOGGED_BY],
            answers={200: of(LogPage)},
        ),
        Operation(
            method="GET",
            path="/v1/live",
            summary="Server-sent events: each event as it is stored, counters, freshness.",
            scope=" or ".join(LIVE_SCOPES),
            answers={200: text_body("text/event-stream")},
        ),
        Operation(
            method="GET",
            path="/v1/balance",
            summary="Accepted = stored + rejected + waiting, by stream and hour.",
            scope=_SCOPE,
            answers={200: of(Balance)},
        ),
        Operation(
            method="GET",
            path=PATH,
            summary="Lists conversions as they stand, the newest first.",
            scope=" or ".join(READ_SCOPES),
            query=[Parameter(name, "One value, or an instant.") for name in LISTED_BY],
            answers={200: of(Page)},
        ),
    ]
