"""Serves `/openapi.json`, its viewer at `/docs`, and `/docs/errors`."""

import asyncio
import gzip
import html
import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2s
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from linkjolt.reasons import ADVICE, PROBLEMS_PATH, STATUS, TITLES, Reason, Rejected
from linkjolt.web.openapi import JSON, Body, Operation, text_body
from linkjolt.web.openapi_document import document

_CODE = re.compile(r"`([^`]+)`")
_FOLDER = Path(__file__).parent / "viewer"
_TYPES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_TYPES["start.js"] = "text/javascript"
# Each address names the content, so that a browser need not ask again.
_FOREVER = "public, max-age=31536000, immutable"
_ONLY_OWN = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
# The viewer's icons are data: URLs.
_VIEWER_POLICY = f"default-src 'self'; img-src 'self' data:; {_ONLY_OWN}"
_PLAIN_POLICY = f"default-src 'none'; {_ONLY_OWN}"


class ViewerFile(msgspec.Struct, frozen=True):
    """One file of the viewer, as it is and compressed."""

    plain: bytes
    packed: bytes


def routes(operations: Sequence[Operation], server_url: str, edge_url: str = "") -> list[BaseRoute]:
    """`/openapi.json` and `/docs…` of a listener with these operations."""
    text = document(operations, server_url, edge_url)

    async def openapi(_: Request) -> Response:
        return Response(text, media_type=JSON)

    return [
        Route("/openapi.json", openapi),
        Route("/docs", _viewer),
        Route("/docs/viewer/{name}", _viewer_file),
        Route(PROBLEMS_PATH, _problems),
    ]


async def _viewer(_: Request) -> Response:
    return _page(_viewer_page(), _VIEWER_POLICY)


async def _problems(_: Request) -> Response:
    return _page(_problems_page(), _PLAIN_POLICY)


async def _viewer_file(request: Request) -> Response:
    name: str = request.path_params["name"]
    if name not in _TYPES:
        raise Rejected(Reason.not_found, "there is no such file")
    # In a thread: to compress a megabyte would hold up an edge's redirects.
    file = await asyncio.to_thread(_read_file, name)
    headers = {
        "Cache-Control": _FOREVER,
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    content = file.plain
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        content = file.packed
    return Response(content, headers=headers, media_type=_TYPES[name])


@lru_cache
def _read_file(name: str) -> ViewerFile:
    # At the first request: to compress them takes longer than a worker's start.
    plain = (_FOLDER / name).read_bytes()
    return ViewerFile(plain, gzip.compress(plain, 9, mtime=0))


def _page(text: str, policy: str) -> Response:
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return HTMLResponse(text, headers=headers)


@lru_cache
def _viewer_page() -> str:
    urls = {name: f"/docs/viewer/{name}?v={_digest(name)}" for name in _TYPES}
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>LinkJolt API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="{urls["swagger-ui.css"]}">'
        f'<script defer src="{urls["swagger-ui-bundle.js"]}"></script>'
        f'<script type="module" src="{urls["start.js"]}"></script></head>'
        '<body><main id="viewer"></main>'
        '<noscript><p>The viewer needs JavaScript; the document is <a href="/openapi.json">'
        "/openapi.json</a>.</p></noscript></body></html>"
    )


def _digest(name: str) -> str:
    return blake2s((_FOLDER / name).read_bytes(), digest_size=8).hexdigest()


def _advice(reason: Reason) -> str:
    return _CODE.sub(r"<code>\1</code>", html.escape(ADVICE[reason]))


@lru_cache
def _problems_page() -> str:
    sections = "".join(
        f'<section id="{reason}"><h2>{html.escape(TITLES[reason])}</h2>'
        f"<p><code>{reason}</code>, status {STATUS[reason]}</p>"
        f"<p>{_advice(reason)}</p></section>"
        for reason in Reason
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>LinkJolt errors</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head><body><main>'
        "<h1>LinkJolt errors</h1><p>A refusal is answered as a problem document (RFC 9457): its"
        " <code>code</code> is one of these reasons, and its <code>type</code> leads here."
        f' <a href="/docs">All operations</a></p>{sections}</main></body></html>'
    )


_HTML = text_body("<!doctype html>", "text/html")
# By id: path, summary, description, answer.
_OWN: dict[str, tuple[str, str, str, Body]] = {
    "getHealth": (
        "/healthz",
        "Check that the listener is alive.",
        "Answers 200 while the process serves requests.",
        text_body("ok\n"),
    ),
    "getReadiness": (
        "/readyz",
        "Check that requests may come.",
        "Answers 503 while a server that this one depends on cannot be reached.",
        text_body("ready\n"),
    ),
    "getMetrics": (
        "/metrics",
        "Get the metrics.",
        "Returns the listener's metrics in the text format of Prometheus.",
        text_body("# TYPE up gauge\nup 1\n"),
    ),
    "getOpenApi": (
        "/openapi.json",
        "Get this document.",
        "Returns the OpenAPI document of this listener.",
        Body(schema={"type": "object"}, example={"openapi": "3.1.0"}),
    ),
    "openDocs": (
        "/docs",
        "Open the API viewer.",
        "Returns a page that shows every operation and sends requests to try them.",
        _HTML,
    ),
    "openErrors": (
        PROBLEMS_PATH,
        "Open the list of errors.",
        "Returns a page that says of every problem how to solve it.",
        _HTML,
    ),
}


def own_operations() -> list[Operation]:
    """The operations that every listener has."""
    script, style = text_body("export {};", "text/javascript"), text_body("body {}", "text/css")
    return [
        *(
            Operation(
                id=id,
                tag="Server",
                method="GET",
                path=path,
                summary=summary,
                description=description,
                answers={200: body},
            )
            for id, (path, summary, description, body) in _OWN.items()
        ),
        Operation(
            id="getViewerFile",
            tag="Server",
            method="GET",
            path="/docs/viewer/{name}",
            summary="Get a file of the API viewer.",
            description="Returns a script or the style sheet of the viewer.",
            answers={200: (script, style)},
            refusals=(404,),
        ),
    ]
