"""Runs `linkjolt webhooks run`, which delivers, and `webhooks listen`, a receiver to test with."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import click
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from linkjolt.reasons import Rejected
from linkjolt.registry.sealed.start import open_sealer
from linkjolt.runtime import lifecycle
from linkjolt.runtime.command_group import CommandGroup
from linkjolt.runtime.instance import find_redis_url
from linkjolt.settings import SharedSettings, load
from linkjolt.storage.redis import connect
from linkjolt.web import requests, server
from linkjolt.web.answer_headers import RequestIds
from linkjolt.webhooks.signing import verification_error
from outbound.app import WebhookDelivery

_BODY_MAX_BYTES = 1 << 20
_SHUTDOWN_SECONDS = 1.0


@click.group(cls=CommandGroup)
def webhooks() -> None:
    """Webhooks: deliver them, or receive them for development."""


@webhooks.command()
@click.option("--data", help="Data directory of the running instance.")
def run(data: str | None) -> None:
    """Deliver events to the endpoints, in one process; any number may run."""

    async def main(stop: asyncio.Event) -> None:
        settings = load(SharedSettings, overrides={"data": data})
        redis = connect(find_redis_url(settings.data, settings.redis_url))
        sealer = await open_sealer(settings, redis)
        lifecycle.announce_ready()
        await WebhookDelivery(redis, settings, sealer).run(stop)
        await redis.aclose()

    lifecycle.run(main)


@webhooks.command()
@click.option("--port", default=8002, show_default=True, help="Port to listen on.")
@click.option("--secret", help="whsec_...; else unverified.")
def listen(port: int, secret: str | None) -> None:
    """Print what arrives, and verify its signatures; answers 200, or 401 where they are wrong.

    The instance has to allow it: LINKJOLT_WEBHOOK_ALLOWED_NETWORKS=127.0.0.1.
    """

    async def main(stop: asyncio.Event) -> None:
        sock = server.listen("127.0.0.1", port)
        click.echo(f"Listening on {server.http_url('127.0.0.1', sock.getsockname()[1])}/")
        app = Starlette(routes=[Route("/{path:path}", _receiver(secret), methods=["POST"])])
        await server.serve(
            RequestIds(app), sock=sock, stop=stop, shutdown_seconds=_SHUTDOWN_SECONDS
        )

    lifecycle.run(main)


def _receiver(secret: str | None) -> Callable[[Request], Awaitable[Response]]:
    async def receive(request: Request) -> Response:
        try:
            body = await requests.read_body(request, _BODY_MAX_BYTES)
        except Rejected as error:
            return PlainTextResponse(error.message, error.status)
        headers = {name.lower(): value for name, value in request.headers.items()}
        wrong = verification_error(headers, body, secret, time.time()) if secret else None
        verdict = wrong or ("verified" if secret else "not verified: no --secret")
        at = datetime.now(UTC).strftime("%H:%M:%S")
        click.echo(f"{at} {headers.get('webhook-id', 'no webhook-id')} {verdict}")
        click.echo(body.decode("utf-8", "replace"))
        return PlainTextResponse(verdict, 401 if wrong else 200)

    return receive
