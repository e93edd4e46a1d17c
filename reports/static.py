"""Serves the dashboard's files, read once: no build, nothing from other origins."""

import gzip
from collections.abc import Iterator
from hashlib import blake2s
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkjolt.reasons import Reason, Rejected

FOLDER = Path(__file__).parent / "dashboard"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Charts are drawn on a canvas, and saved files are blobs: neither needs more than this.
_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # The browser revalidates each time, mostly by a 304: a new version shows at once.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


class StaticFile(msgspec.Struct, frozen=True):
    """A file, plain and compressed."""

    plain: bytes
    gzipped: bytes
    media_type: str
    etag: str


def read_files() -> dict[str, StaticFile]:
    """Reads all files of the dashboard by their path in its folder."""
    return dict(_read())


def _read() -> Iterator[tuple[str, StaticFile]]:
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in _TYPES:
            plain = path.read_bytes()
            etag = f'"{blake2s(plain, digest_size=12).hexdigest()}"'
            gzipped = gzip.compress(plain, 9, mtime=0)
            name = path.relative_to(FOLDER).as_posix()
            yield name, StaticFile(plain, gzipped, _TYPES[path.suffix], etag)


def routes() -> list[BaseRoute]:
    """Lists the routes: the page at `/`, its files under `/assets/`."""
    files = read_files()

    async def page(request: Request) -> Response:
        return _respond(request, files["index.html"])

    async def asset(request: Request) -> Response:
        file = files.get(request.path_params["name"])
        if file is None:
            raise Rejected(Reason.not_found, "there is no such file")
        return _respond(request, file)

    return [Route("/", page), Route("/assets/{name:path}", asset)]


def _respond(request: Request, file: StaticFile) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.plain, headers=headers, media_type=file.media_type)
    headers["Content-Encoding"] = "gzip"
    return Response(file.gzipped, headers=headers, media_type=file.media_type)
