"""One posted conversion on its way: parsed, attributed, resolved and handed to its shard's lane."""

import asyncio
import secrets

import msgspec

from ingest import metrics
from ingest.attribution import Attribution, Late, attribute, judge_click
from ingest.conversion import resolve_conversion, state_of
from ingest.conversion_answer import answer
from ingest.conversion_post import ConversionPost, parse_post, time_of
from ingest.edge import Edge
from ingest.publish import Posted, Queued, outcome
from linkjolt import names
from linkjolt.clickid import ClickRef, read_click_id
from linkjolt.conversionid import make_conversion_id
from linkjolt.errors import Reason, Rejected
from linkjolt.registry import Route

_OUTCOMES = {200: "duplicate", 201: "created", 202: "queued", 409: "conflict"}
_COUNTED = {status: metrics.CONVERSIONS.labels(name) for status, name in _OUTCOMES.items()}


def count(status: int, conversions: int = 1) -> None:
    """Counts conversions answered with a status, if it is one of an outcome."""
    if status in _COUNTED:
        _COUNTED[status].inc(conversions)


class Taken(msgspec.Struct, frozen=True):
    """A post under way: `frame` brings the outcomes of a frame, `place` is the post's in it."""

    posted: Posted
    frame: asyncio.Future[list[bytes] | None]
    place: int

    def answer(self, outcomes: list[bytes] | None) -> tuple[int, bytes]:
        """Status and JSON, by what `frame` brought: the post is on disk.

        201 for a new order, 200 for the same post again, 202 while Redis is away. Rejected where
        another post has the order, or nothing is known of it.
        """
        posted = self.posted
        held = outcome(posted, outcomes, self.place)
        if held is None:
            return 201, answer(posted.state)
        if isinstance(held, Queued):
            return 202, answer(posted.state, status="queued")
        if held.fingerprint != posted.fingerprint:
            message = f"another conversion has this order_id: {held.conversion_id}"
            raise Rejected(Reason.conflict, message, field="order_id")
        return 200, answer(held.state, duplicate=True)


class Found(msgspec.Struct, frozen=True):
    """What the directory and its MAC say of a post: its click, if genuine, and both routes."""

    click: ClickRef | None
    click_route: Route | None
    code_route: Route | None


class Intake:
    """Takes posts of every account; what one turn of the loop takes is published together."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def take_now(self, body: bytes, account: int, now_ms: int) -> Taken | None:
        """As `take`, at once; None where something must be loaded first."""
        post, directory = parse_post(body), self._edge.directory
        click = self._click(post)
        click_route = directory.route_by_number_now(click.link) if click else None
        code_route = directory.route_now(post.tracking_code) if post.tracking_code else None
        if (click and not click_route) or (post.tracking_code and not code_route):
            return None
        return self._publish(post, account, now_ms, Found(click, click_route, code_route))

    async def take(self, body: bytes, account: int, now_ms: int) -> Taken:
        """Waits only for what the directory must load. Rejected, or RedisError, if not taken."""
        post, directory = parse_post(body), self._edge.directory
        code_route = await directory.route(post.tracking_code) if post.tracking_code else None
        _check_route(post, code_route, account)
        click = self._click(post)
        click_route = await directory.route_by_number(click.link) if click else None
        return self._publish(post, account, now_ms, Found(click, click_route, code_route))

    def _click(self, post: ConversionPost) -> ClickRef | None:
        if post.click_id is None:
            return None
        return read_click_id(post.click_id, self._edge.keyring.click_keys)

    def _publish(self, post: ConversionPost, account: int, now_ms: int, found: Found) -> Taken:
        edge, shards = self._edge, self._edge.settings.shards
        _check_route(post, found.code_route, account)
        if post.order_id is None:
            shard = secrets.randbelow(shards)
            order_digest = conversion_id = make_conversion_id(shard, now_ms)
        else:
            order_digest = names.order_digest(account, post.event, post.order_id)
            shard = int(order_digest, 16) % shards
            conversion_id = make_conversion_id(shard, now_ms)
        conversion, fingerprint = resolve_conversion(
            post,
            _attribution(post, account, now_ms, found),
            conversion_id=conversion_id,
            account=account,
            now_ms=now_ms,
            customer_key=edge.keyring.customer_key,
            default_currency=edge.settings.default_currency,
        )
        posted = Posted(conversion, state_of(conversion), order_digest, fingerprint)
        return Taken(posted, *edge.conversions[shard].add(posted))


def _check_route(post: ConversionPost, route: Route | None, account: int) -> None:
    if post.tracking_code is None:
        return
    if route is None or route.link.account != account or route.link.deleted_at is not None:
        message = "no such tracking code"
        raise Rejected(Reason.unknown_tracking_code, message, field="tracking_code")


def _attribution(post: ConversionPost, account: int, now_ms: int, found: Found) -> Attribution:
    if post.click_id is None:
        return attribute(False, Late.none, None, found.code_route)
    late = judge_click(found.click, found.click_route, account, time_of(post, now_ms))
    return attribute(True, late, found.click_route, found.code_route)
