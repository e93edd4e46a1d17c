"""Tells requests that came over https from plain ones, and keeps these from the application."""

from collections.abc import Awaitable
from urllib.parse import parse_qsl, quote

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from linkjolt.clicks.addresses import is_trusted, parse_networks
from linkjolt.reasons import Reason, Rejected
from linkjolt.settings import SharedSettings
from linkjolt.web import requests
from linkjolt.web.answer_headers import hsts_header

_PROTO = b"x-forwarded-proto"
# Asked by load balancers and Prometheus from within, without credentials.
_PROBES = ("/healthz", "/readyz", "/metrics")
# Called by programs: what follows a redirect there sends its key over plain HTTP every time.
_API_PATHS = ("/v1/", "/oauth/", "/postback")
_TEMPORARY_REDIRECT = 307
_URL_CHARACTERS = ":/?#[]@!$&'()*+,;=%-._~"
_REFUSED = Rejected(
    Reason.https_required,
    "this listener takes requests over https only: send it there, and replace a key that was sent"
    " over plain HTTP",
)


class HttpsOnly:
    """Refuses plain requests, or redirects them, where settings ask for https.

    Adds HSTS to answers that a trusted proxy passes on over https; those under TLS of our own have
    it from the server.
    """

    def __init__(self, app: ASGIApp, settings: SharedSettings, public_url: str = "") -> None:
        """`public_url` is the https address of the application, if that is known."""
        self.app = app
        self._proxies = parse_networks(settings.trusted_proxies)
        self._tls = bool(settings.tls_cert)
        self._required = settings.require_https
        self._hsts = hsts_header(settings.hsts_seconds)
        self._public_url = public_url if public_url.startswith("https://") else ""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        scheme: str = scope.get("scheme", "http")
        direct = scheme == "https"
        if forwarded := self._forwarded_scheme(scope):
            # The visitor's, for whoever sets a cookie or composes an address.
            scheme = scope["scheme"] = forwarded
        # On a listener with TLS of its own nothing is meant to arrive without.
        required = self._required or (self._tls and not direct)
        app = self._plain_answer(scope) if required and scheme != "https" else None
        sender = send if direct or scheme != "https" else self._with_hsts(send)
        return (app or self.app)(scope, receive, sender)

    def _forwarded_scheme(self, scope: Scope) -> str:
        """Returns the scheme in which a trusted proxy got the request; '' where none says so."""
        value = requests.header(scope, _PROTO)
        client = scope["client"]
        if not value or not client or not is_trusted(client[0], self._proxies):
            return ""
        # Of several proxies the first one faces the visitor.
        return value.partition(",")[0].strip().lower()

    def _with_hsts(self, send: Send) -> Send:
        def send_with_hsts(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [self._hsts, *message["headers"]]
            return send(message)

        return send_with_hsts

    def _plain_answer(self, scope: Scope) -> ASGIApp | None:
        """Returns the answer to a plain request; None where the application may give it."""
        path: str = scope["path"]
        if path in _PROBES and not self._tls:
            return None
        authority = self._public_url or f"https://{_host(scope, keep_port=self._tls)}"
        is_page = scope["method"] in ("GET", "HEAD") and not path.startswith(_API_PATHS)
        if not is_page or _has_credentials(scope) or authority == "https://":
            return requests.problem_response(_REFUSED, scope)
        target = scope["raw_path"].decode("latin-1")
        if query := scope["query_string"].decode("latin-1"):
            target += f"?{query}"
        location = authority.rstrip("/") + quote(target, _URL_CHARACTERS, "latin-1")
        headers = {"Location": location, "Cache-Control": "no-store"}
        return Response(status_code=_TEMPORARY_REDIRECT, headers=headers)


def _host(scope: Scope, *, keep_port: bool) -> str:
    """Returns the host that the client asked for; '' if it named none.

    Its port is that of plain HTTP, unless the listener takes both on one port.
    """
    host = requests.header(scope, b"host")
    name, colon, port = host.rpartition(":")
    has_port = colon and port.isdigit()
    return host if keep_port or not has_port else name


def _has_credentials(scope: Scope) -> bool:
    if requests.header(scope, b"authorization"):
        return True
    # The pixel takes a key, too; any other page's parameters are its own.
    query = scope["query_string"].decode("latin-1")
    return scope["path"] == "/p.gif" and any(name == "key" for name, _ in parse_qsl(query))
