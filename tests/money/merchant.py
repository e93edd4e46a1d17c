"""Runs a merchant's webhook endpoints, which answer as their paths say, and records arrivals."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.money.shop import Api, Shop, wait_for

CONVERSION_EVENTS = [
    f"conversion.{what}" for what in ("created", "approved", "rejected", "refunded")
]
# Longer than a sender waits for an answer.
HANG_SECONDS = 15.0


@dataclass(frozen=True)
class Arrival:
    """One request; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def event(self) -> str:
        return json.loads(self.body)["event"]

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.body)["data"]


class Hook(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    protocol_version = "HTTP/1.1"

    @property
    def hooks(self) -> "HookServer":
        assert isinstance(self.server, HookServer)
        return self.server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        arrival = Arrival(self.path, headers, body)
        self.hooks.arrived.append(arrival)
        with suppress(ConnectionError):
            self.hooks.replies[self.path](self, arrival)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Sends a whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hold(self, seconds: float = HANG_SECONDS) -> None:
        """Waits, at most until the server closes."""
        self.hooks.closing.wait(seconds)

    def log_message(self, format: str, *args: Any) -> None:
        pass


Reply = Callable[[Hook, Arrival], None]


class HookServer(ThreadingHTTPServer):
    """Listens for webhooks, one thread a connection."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.arrived: list[Arrival] = []
        self.replies: dict[str, Reply] = {}
        self.closing = threading.Event()


def ok(hook: Hook, _: Arrival) -> None:
    hook.reply(200)


class Merchant:
    """A merchant's server and the webhooks that lead to it."""

    def __init__(self) -> None:
        self._server = HookServer()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self._made: list[tuple[Api, str]] = []

    @property
    def port(self) -> int:
        return self._server.server_port

    def endpoint(
        self,
        shop: Shop,
        reply: Reply = ok,
        *,
        events: list[str] = CONVERSION_EVENTS,
        host: str = "http://127.0.0.1",
        url: str = "",
        **filters: Any,
    ) -> "HookEndpoint":
        """Registers an endpoint for the shop's campaign: one that answers by `reply`, or a URL."""
        path = f"/{len(self._server.replies)}"
        self._server.replies[path] = reply
        scope = {"campaign_id": [shop.campaign]} | filters
        url = url or f"{host}:{self.port}{path}"
        made = shop.api.create("webhooks", url=url, events=events, filter=scope)
        self._made.append((shop.api, made["id"]))
        return HookEndpoint(self._server, shop.api, path, made)

    def close(self) -> None:
        for api, webhook in self._made:
            api.send("DELETE", f"/v1/webhooks/{webhook}")
        self._server.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class HookEndpoint:
    """A registered webhook and what arrived at its path."""

    server: HookServer
    api: Api
    path: str
    webhook: dict[str, Any]

    @property
    def id(self) -> str:
        return self.webhook["id"]

    @property
    def arrived(self) -> list[Arrival]:
        return [one for one in [*self.server.arrived] if one.path == self.path]

    def told(self, conversion_id: str) -> list[Arrival]:
        """Returns what arrived about a conversion, in the order of arrival."""
        return [one for one in self.arrived if one.data.get("conversion_id") == conversion_id]

    def wait(self, count: int, seconds: float = 10) -> list[Arrival]:
        """Waits until so many requests have arrived, and returns all."""
        what = f"{count} webhooks at {self.path}"
        wait_for(what, lambda: len(self.arrived) >= count, seconds)
        return self.arrived

    def patch(self, **fields: Any) -> None:
        answer = self.api.send("PATCH", f"/v1/webhooks/{self.id}", json=fields)
        assert answer.status_code == 200, answer.text

    def deliveries(self) -> list[dict[str, Any]]:
        """Lists the newest deliveries with their tries."""
        path = f"/v1/webhooks/{self.id}/deliveries"
        answer = self.api.send("GET", path, params={"limit": "100"})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def first_try(self, seconds: float = 10) -> dict[str, Any]:
        """Waits for the first try of the newest delivery, and returns it."""
        wait_for("a try is listed", lambda: any(d["tries"] for d in self.deliveries()), seconds)
        return next(d["tries"][0] for d in self.deliveries() if d["tries"])

    def states(self) -> list[str]:
        return [delivery["state"] for delivery in self.deliveries()]
