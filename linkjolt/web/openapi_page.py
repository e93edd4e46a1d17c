"""`/openapi.json` and `/docs`: a listener's operations, for machines and for people."""

import html
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from linkjolt.web.openapi import JSON, Body, Operation, document, text_body


def routes(operations: Sequence[Operation], server_url: str) -> list[BaseRoute]:
    """`/openapi.json` and `/docs` of a listener with these operations."""
    text = document(operations, server_url)
    page = _page(operations)

    async def machine(_: Request) -> Response:
        return Response(text, media_type=JSON)

    async def people(_: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": "default-src 'none'"})

    return [Route("/openapi.json", machine), Route("/docs", people)]


def _page(operations: Sequence[Operation]) -> str:
    """A plain page: what there is, and what each needs. The rest is in the document."""
    rows = [
        f"<tr><td>{one.method}</td><td><code>{html.escape(one.path)}</code></td>"
        f"<td>{html.escape(one.summary)}</td><td>{html.escape(_needs(one))}</td></tr>"
        for one in operations
    ]
    head = "<tr><th>method</th><th>path</th><th>what it does</th><th>scope</th></tr>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>LinkJolt API</title>'
        f"<h1>LinkJolt API</h1><p>For machines: <a href='/openapi.json'>/openapi.json</a></p>"
        f"<table>{head}{''.join(rows)}</table></html>"
    )


def _needs(one: Operation) -> str:
    return "no key" if one.scope is None else one.scope or "any key"


def own_operations() -> list[Operation]:
    """Those that every listener has."""
    text = text_body()
    return [
        Operation(method="GET", path="/healthz", summary="Is it alive?", answers={200: text}),
        Operation(method="GET", path="/readyz", summary="May requests come?", answers={200: text}),
        Operation(method="GET", path="/metrics", summary="For Prometheus.", answers={200: text}),
        Operation(
            method="GET",
            path="/openapi.json",
            summary="This document.",
            answers={200: Body(schema={"type": "object"})},
        ),
        Operation(
            method="GET",
            path="/docs",
            summary="What there is, for people.",
            answers={200: text_body("text/html")},
        ),
    ]
