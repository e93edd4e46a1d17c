"""Answers clicks in the obvious way: a Starlette route that awaits an XADD for each click."""

import os
import random

import msgspec
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from linkjolt.click_ids import ALPHABET, CLICK_ID_LENGTH
from linkjolt.events import Click
from linkjolt.storage.redis import call, connect
from loadtests.bench import traffic

STREAM = "bench:starlette"
REDIS_URL = "BENCH_REDIS_URL"


def create_app(redis: Redis) -> Starlette:
    links = {code: number for number, code in enumerate(traffic.CODES, 1)}

    async def click(request: Request) -> Response:
        link = links.get(request.path_params["code"])
        if link is None:
            return Response(status_code=404)
        headers = request.headers
        event = Click(
            click_id="".join(random.choices(ALPHABET, k=CLICK_ID_LENGTH)),
            account=traffic.ACCOUNT,
            link=link,
            campaign=traffic.CAMPAIGN,
            affiliate=traffic.AFFILIATE,
            ip=request.client.host if request.client else "",
            user_agent=headers.get("user-agent", ""),
            referrer=headers.get("referer", ""),
            language=headers.get("accept-language", "").partition(",")[0],
        )
        await call(redis, "XADD", STREAM, "*", "f", msgspec.json.encode(event))
        return RedirectResponse(f"{traffic.DESTINATION}?click_id={event.click_id}", 302)

    return Starlette(routes=[Route("/{code}", click)])


def app() -> Starlette:
    """Creates the application; uvicorn calls this factory."""
    # redis-py opens 100 connections by default and refuses the rest.
    return create_app(connect(f"{os.environ[REDIS_URL]}?max_connections={2 * traffic.CONNECTIONS}"))
