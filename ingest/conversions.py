"""Conversions over HTTP: the thin shell around parsing, attribution and publishing."""

import asyncio
import secrets
import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ingest import metrics
from ingest.attribution import Attribution, Late, attribute, judge_click
from ingest.conversion import answer, resolve_conversion
from ingest.conversion_post import ConversionPost, parse_post, time_of
from ingest.edge import Edge
from ingest.publish import Queued, Refused, find_conversion
from ingest.spool_files import queued
from linkjolt import names, web
from linkjolt.access import authenticate
from linkjolt.clickid import read_click_id
from linkjolt.conversionid import make_conversion_id, shard_of
from linkjolt.errors import Reason, Rejected
from linkjolt.events import ConversionState
from linkjolt.registry import Route


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a post that was answered 202: `queued`, or `refused` with the reason."""

    conversion_id: str
    status: str
    reason: str = ""
    conflicts_with: str = ""


class Conversions:
    """The endpoints of `/v1/conversions`."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def post(self, request: Request) -> Response:
        """201 for a new order, 200 for the same post again, 409 for another under its id."""
        key = await authenticate(request, self._edge.directory, "conversions:write")
        web.require_json(request)
        post = parse_post(await web.read_body(request))
        now_ms = time.time_ns() // 1_000_000
        shard = self._shard(key.account, post)
        posted = resolve_conversion(
            post,
            await self._attribute(post, key.account, now_ms),
            conversion_id=make_conversion_id(shard, now_ms),
            account=key.account,
            now_ms=now_ms,
            customer_key=self._edge.keyring.customer_key,
            default_currency=self._edge.settings.default_currency,
        )
        held = await self._edge.conversions[shard].publish(posted)
        if held is None:
            metrics.CONVERSIONS.labels("created").inc()
            return web.json_response(answer(posted.state, duplicate=False), 201)
        if isinstance(held, Queued):
            metrics.CONVERSIONS.labels("queued").inc()
            taken = answer(posted.state, duplicate=False)
            return web.json_response(msgspec.structs.replace(taken, status="queued"), 202)
        if held.fingerprint != posted.fingerprint:
            metrics.CONVERSIONS.labels("conflict").inc()
            message = f"another conversion has this order_id: {held.conversion_id}"
            raise Rejected(Reason.conflict, message, field="order_id")
        metrics.CONVERSIONS.labels("duplicate").inc()
        return web.json_response(answer(held.state, duplicate=True))

    async def get(self, request: Request) -> Response:
        """A conversion by its id, as it stands now; queued and refused ones too."""
        key = await authenticate(request, self._edge.directory, "conversions:write")
        conversion_id: str = request.path_params["conversion_id"]
        if await asyncio.to_thread(queued, self._edge.spool_folder, conversion_id):
            return web.json_response(Outcome(conversion_id, "queued"))
        found = await self._find(conversion_id)
        refused = found if isinstance(found, Refused) else None
        state = await self._find(refused.conflicts_with) if refused else found
        if not isinstance(state, ConversionState) or state.account != key.account:
            raise Rejected(Reason.not_found, "no such conversion")
        if refused:
            outcome = Outcome(conversion_id, "refused", Reason.conflict, refused.conflicts_with)
            return web.json_response(outcome)
        return web.json_response(answer(state, duplicate=False))

    async def _find(self, conversion_id: str) -> ConversionState | Refused | None:
        shard = shard_of(conversion_id)
        if shard is None or shard >= self._edge.settings.shards:
            return None
        return await find_conversion(self._edge.redis, shard, conversion_id)

    def _shard(self, account: int, post: ConversionPost) -> int:
        shards = self._edge.settings.shards
        if post.order_id is None:
            return secrets.randbelow(shards)
        return int(names.order_digest(account, post.event, post.order_id), 16) % shards

    async def _attribute(self, post: ConversionPost, account: int, now_ms: int) -> Attribution:
        code_route = await self._code_route(post, account)
        if post.click_id is None:
            return attribute(False, Late.none, None, code_route)
        click = read_click_id(post.click_id, self._edge.keyring.click_keys)
        directory = self._edge.directory
        click_route = await directory.route_by_number(click.link) if click else None
        late = judge_click(click, click_route, account, time_of(post, now_ms))
        return attribute(True, late, click_route, code_route)

    async def _code_route(self, post: ConversionPost, account: int) -> Route | None:
        if post.tracking_code is None:
            return None
        route = await self._edge.directory.route(post.tracking_code)
        if route is None or route.link.account != account or route.link.deleted_at is not None:
            message = "no such tracking code"
            raise Rejected(Reason.unknown_tracking_code, message, field="tracking_code")
        return route
