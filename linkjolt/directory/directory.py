"""An edge's view of the registry: in memory, loaded on demand, kept fresh by the change feed."""

import asyncio
from collections.abc import Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from linkjolt import redis_keys
from linkjolt.clicks.route import Route
from linkjolt.directory.caches import Keys, Loads, Lru, Routes
from linkjolt.directory.coupons import Coupons
from linkjolt.directory.redis_outage import Guarded, LastKnown
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Change, Link
from linkjolt.registry.reads import (
    block_ms,
    feed_after,
    feed_end,
    feed_holds,
    read_entries,
    read_entry,
    read_pointer,
)
from linkjolt.registry.tracking_codes import is_tracking_code

_KEYS_CACHED = 10_000
_CHANGES_AT_ONCE = 1000
# Rests after a batch: a mass import would else stop every load from being remembered.
_PAUSE_SECONDS = 0.02
_RETRY_SECONDS = 0.1
_RETRY_MAX_SECONDS = 1.0
_log = structlog.get_logger()


class Directory:
    """Routes, campaigns and keys by what requests carry. RedisError reaches the caller.

    Entries come as they are: whether a link is active, or it, its campaign or its affiliate
    deleted, is for the caller to judge. Run `follow` beside it, or changes go unseen.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        links_cached: int,
        unknown_cached: int,
        last_known: LastKnown | None = None,
    ) -> None:
        self._redis = redis
        self._guarded = Guarded(last_known)
        self._routes = Routes(links_cached)
        # The route of a code if it is in memory; each click asks, so it is no method of its own.
        self.route_now = self._routes.get
        self._campaigns: Lru[int, Campaign] = Lru(links_cached)
        self._affiliates: Lru[int, Affiliate] = Lru(links_cached)
        self._keys = Keys(_KEYS_CACHED, unknown_cached)
        self._unknown_codes: Lru[str, bool] = Lru(unknown_cached)
        # Loads are told apart by it: what was read before a change is neither kept nor joined.
        self._generation = 0
        self._route_loads: Loads[tuple[int, str], Route | None] = Loads()
        self._campaign_loads: Loads[tuple[int, int], Campaign | None] = Loads()
        self._affiliate_loads: Loads[tuple[int, int], Affiliate | None] = Loads()
        self._key_loads: Loads[tuple[int, str], ApiKey | None] = Loads()
        self.coupons = Coupons(redis, self._guarded, self.campaign, self._affiliate)
        self._block_ms = block_ms(redis)
        self._position = ""

    def unknown_now(self, code: str) -> bool:
        """True where memory already says that no link has this code."""
        return self._unknown_codes.get(code) is not None

    async def route(self, code: str) -> Route | None:
        """The route of a code; None where no link has it."""
        if route := self.route_now(code):
            return route
        if self.unknown_now(code) or not is_tracking_code(code):
            return None
        at = self._generation, code
        return await self._guarded.ask(
            lambda: self._route_loads.run(at, lambda: self._load_code(code)),
            lambda copy: copy.route(code),
        )

    def route_by_number_now(self, number: int) -> Route | None:
        return self._routes.by_number(number)

    async def route_by_number(self, number: int) -> Route | None:
        """The route of a link's number, such as a genuine click id carries."""
        if route := self.route_by_number_now(number):
            return route
        return await self._guarded.ask(
            lambda: self._route_of(number), lambda copy: copy.route_by_number(number)
        )

    async def _route_of(self, number: int) -> Route | None:
        link = await read_entry(self._redis, Link, number)
        return await self.route(link.tracking_code) if link else None

    async def campaign(self, number: int) -> Campaign | None:
        """A campaign, deleted ones too."""
        if campaign := self._campaigns.get(number):
            return campaign
        at = self._generation, number
        return await self._campaign_loads.run(at, lambda: self._load_campaign(number))

    def key_now(self, secret: str) -> ApiKey | None:
        """The key of a secret if both are in memory."""
        return self._keys.by_secret(secret)

    async def key(self, secret: str) -> ApiKey | None:
        """The key of a secret, expired ones too; None for unknown and revoked ones."""
        if (key := self.key_now(secret)) or not api_key_secrets.well_formed(secret):
            return key
        digest = api_key_secrets.digest(secret)
        if (key := self._keys.learn(secret, digest)) or self._keys.unknown(digest):
            return key
        at = self._generation, digest
        return await self._guarded.ask(
            lambda: self._key_loads.run(at, lambda: self._load_key(digest)),
            lambda copy: copy.key(digest),
        )

    async def _load_code(self, code: str) -> Route | None:
        generation = self._generation
        number = await read_pointer(self._redis, redis_keys.tracking_code(code))
        route = None if number is None else await self._load_route(number)
        if generation == self._generation:
            if route:
                self._routes.put(route)
            else:
                self._unknown_codes.put(code, True)
        return route

    async def _load_route(self, number: int) -> Route | None:
        link = await read_entry(self._redis, Link, number)
        if link is None:
            return None
        # Through their own caches, so that the routes of one campaign share one object.
        campaign, affiliate = await asyncio.gather(
            self.campaign(link.campaign), self._affiliate(link.affiliate)
        )
        return Route(link, campaign, affiliate) if campaign and affiliate else None

    async def _affiliate(self, number: int) -> Affiliate | None:
        if affiliate := self._affiliates.get(number):
            return affiliate
        at = self._generation, number
        return await self._affiliate_loads.run(at, lambda: self._load_affiliate(number))

    async def _load_campaign(self, number: int) -> Campaign | None:
        generation = self._generation
        campaign = await read_entry(self._redis, Campaign, number)
        if campaign and generation == self._generation:
            self._campaigns.put(number, campaign)
        return campaign

    async def _load_affiliate(self, number: int) -> Affiliate | None:
        generation = self._generation
        affiliate = await read_entry(self._redis, Affiliate, number)
        if affiliate and generation == self._generation:
            self._affiliates.put(number, affiliate)
        return affiliate

    async def _load_key(self, digest: str) -> ApiKey | None:
        generation = self._generation
        number = await read_pointer(self._redis, redis_keys.key_digest(digest))
        key = None if number is None else await read_entry(self._redis, ApiKey, number)
        if key and key.deleted_at:
            key = None
        if generation == self._generation:
            self._keys.put(digest, key)
        return key

    async def apply(self, changes: Sequence[Change]) -> None:
        """Forgets all that these changes touch; whoever asks next reads it anew."""
        links = [change.number for change in changes if change.kind == "link"]
        api_keys = [change.number for change in changes if change.kind == "key"]
        # A change names a number, the memory of unknown codes and digests knows none: read them.
        codes = [
            link.tracking_code for link in await read_entries(self._redis, Link, links) if link
        ]
        digests = [key.digest for key in await read_entries(self._redis, ApiKey, api_keys) if key]
        # No await from here on: a load that ends in between would leave what it read before.
        self._generation += 1
        for code in codes:
            self._unknown_codes.pop(code)
        for digest in digests:
            self._keys.pop(digest)
        for change in changes:
            self._drop(change)

    def _drop(self, change: Change) -> None:
        match change.kind:
            case "link":
                self._routes.drop_link(change.number)
            case "campaign" | "affiliate":
                self._campaigns.pop(change.number)
                self._affiliates.pop(change.number)
                self._routes.drop_users(change.kind, change.number)
                self.coupons.clear()
            case "coupon":
                self.coupons.clear()
            case "key" | "webhook":
                pass

    def clear(self) -> None:
        """Forgets everything."""
        self._generation += 1
        known = self._routes, self._campaigns, self._affiliates, self._keys
        for memory in (*known, self._unknown_codes, self.coupons):
            memory.clear()

    async def follow(self) -> None:
        """Applies the registry's changes for ever, on a connection of its own from the pool."""
        failures = 0
        task = asyncio.current_task()
        # On Python 3.11 redis-py loses a cancellation that meets the end of a send (wait_for).
        while not (task and task.cancelling()):
            try:
                await self._follow_once()
                failures = 0
            except RedisError as error:
                if not failures:
                    _log.warning("registry_feed_lost", error=type(error).__name__)
                failures += 1
                await asyncio.sleep(min(_RETRY_SECONDS * 2**failures, _RETRY_MAX_SECONDS))

    async def _follow_once(self) -> None:
        if not self._position:
            return await self.begin()
        position, changes = await feed_after(
            self._redis, self._position, _CHANGES_AT_ONCE, self._block_ms
        )
        # Asked after the read: while the old position stands, nothing behind it was trimmed.
        if not await feed_holds(self._redis, self._position):
            _log.warning("registry_feed_gap")
            return await self.begin()
        if changes:
            await self.apply(changes)
            await asyncio.sleep(_PAUSE_SECONDS)
        self._position = position
        return None

    async def begin(self) -> None:
        """Forgets everything: `follow` hears of all that changes from now on."""
        # The end first: what is loaded after the clearing is at least as new as it.
        end = await feed_end(self._redis)
        self.clear()
        self._position = end
