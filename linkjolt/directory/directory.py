"""Holds an edge's view of the registry in memory, loaded on demand, updated by the change feed."""

import asyncio
from collections.abc import Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from linkjolt import redis_keys
from linkjolt.clicks.client_address import AddressReader
from linkjolt.clicks.route import Route
from linkjolt.directory.caches import KeyCache, LruCache, RouteCache, SingleFlight
from linkjolt.directory.clients import ClientDirectory
from linkjolt.directory.coupons import CouponDirectory
from linkjolt.directory.key_uses import KeyUses
from linkjolt.directory.known_digests import KnownDigests
from linkjolt.directory.rates import RateDirectory
from linkjolt.directory.redis_outage import CircuitBreaker, RegistrySnapshot
from linkjolt.registry import api_key_secrets
from linkjolt.registry.accounts import is_disabled
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Link, Rate, RegistryChange
from linkjolt.registry.reads import (
    feed_block_ms,
    feed_contains,
    read_changes,
    read_entries,
    read_entry,
    read_feed_end,
    read_pointer,
)
from linkjolt.registry.tracking_codes import is_tracking_code
from linkjolt.runtime.back_off import BackOff

_KEYS_CACHED = 10_000
_CHANGES_AT_ONCE = 1000
# Pauses after a batch: otherwise a mass import would keep every load from being cached.
_PAUSE_SECONDS = 0.02
_RETRY_SECONDS = 0.2
_RETRY_MAX_SECONDS = 1.0
_NO_PROXIES = AddressReader((), "")
_log = structlog.get_logger()


class Directory:
    """Looks up routes, campaigns and keys by the values in requests. RedisError reaches the caller.

    Returns entries whether or not they are deleted or disabled: the caller checks. Run `follow`
    beside it, or changes go unnoticed.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        links_cached: int,
        unknown_cached: int,
        snapshot: RegistrySnapshot | None = None,
        addresses: AddressReader = _NO_PROXIES,
    ) -> None:
        self._redis = redis
        self.addresses = addresses
        self.key_uses = KeyUses(redis)
        self._breaker = CircuitBreaker(snapshot)
        self._routes = RouteCache(links_cached)
        # The route of a code if it is in memory; every click calls it, so it skips a method call.
        self.cached_route = self._routes.get
        self._campaigns: LruCache[int, Campaign] = LruCache(links_cached)
        self._affiliates: LruCache[int, Affiliate] = LruCache(links_cached)
        self._keys = KeyCache(_KEYS_CACHED, unknown_cached)
        self._known_digests = KnownDigests(redis)
        self._unknown_codes: LruCache[str, bool] = LruCache(unknown_cached)
        # Part of every load's key: a load from before a change is neither cached nor joined.
        self._generation = 0
        self._route_loads: SingleFlight[tuple[int, str], Route | None] = SingleFlight()
        self._campaign_loads: SingleFlight[tuple[int, int], Campaign | None] = SingleFlight()
        self._affiliate_loads: SingleFlight[tuple[int, int], Affiliate | None] = SingleFlight()
        self._key_loads: SingleFlight[tuple[int, str], ApiKey | None] = SingleFlight()
        self.coupons = CouponDirectory(redis, self._breaker, self.campaign, self.affiliate)
        self.rates = RateDirectory(redis, self._breaker)
        self.clients = ClientDirectory(redis, self._breaker)
        self._block_ms = feed_block_ms(redis)
        self._position = ""

    def is_known_missing(self, code: str) -> bool:
        """Returns True if memory says that no link has this code."""
        return self._unknown_codes.get(code) is not None

    async def route(self, code: str) -> Route | None:
        """Returns the route of a code; None if no link has it."""
        if route := self.cached_route(code):
            return route
        if self.is_known_missing(code) or not is_tracking_code(code):
            return None
        at = self._generation, code
        return await self._breaker.read(
            lambda: self._route_loads.run(at, lambda: self._load_code(code)),
            lambda copy: copy.route(code),
        )

    def cached_route_by_number(self, number: int) -> Route | None:
        return self._routes.by_number(number)

    async def route_by_number(self, number: int) -> Route | None:
        """Returns the route of a link's number, as in a genuine click id."""
        if route := self.cached_route_by_number(number):
            return route
        return await self._breaker.read(
            lambda: self._load_route_by_number(number), lambda copy: copy.route_by_number(number)
        )

    async def _load_route_by_number(self, number: int) -> Route | None:
        link = await read_entry(self._redis, Link, number)
        return await self.route(link.tracking_code) if link else None

    async def campaign(self, number: int) -> Campaign | None:
        """Returns a campaign, deleted ones too."""
        if campaign := self._campaigns.get(number):
            return campaign
        at = self._generation, number
        return await self._campaign_loads.run(at, lambda: self._load_campaign(number))

    def cached_key(self, secret: str) -> ApiKey | None:
        """Returns the key of a secret if both are in memory."""
        return self._keys.by_secret(secret)

    def is_unknown_key(self, secret: str) -> bool:
        """Returns True if memory says that no key has this secret, of the form of one."""
        if self.cached_key(secret) or not api_key_secrets.is_well_formed(secret):
            return False
        return self._known_digests.is_unknown(api_key_secrets.digest(secret))

    async def key(self, secret: str) -> ApiKey | None:
        """Returns the key of a secret, expired ones too; None for unknown and revoked ones."""
        if (key := self.cached_key(secret)) or not api_key_secrets.is_well_formed(secret):
            return key
        digest = api_key_secrets.digest(secret)
        if (key := self._keys.remember_secret(secret, digest)) or self._keys.is_unknown(digest):
            return key
        at = self._generation, digest
        return await self._breaker.read(
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
            self.campaign(link.campaign), self.affiliate(link.affiliate)
        )
        return Route(link, campaign, affiliate) if campaign and affiliate else None

    async def affiliate(self, number: int) -> Affiliate | None:
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
        if key and (key.deleted_at or await is_disabled(self._redis, key.account)):
            key = None
        key = key.found_by(digest) if key else None
        if generation == self._generation:
            self._keys.put(digest, key)
        return key

    async def apply_changes(self, changes: Sequence[RegistryChange]) -> None:
        """Drops everything these changes touch; the next look-up reads it again."""
        links = [change.number for change in changes if change.kind == "link"]
        api_keys = [change.number for change in changes if change.kind == "key"]
        rates = [change.number for change in changes if change.kind == "rate"]
        clients = [change.number for change in changes if change.kind == "client"]
        accounts = [change.number for change in changes if change.kind == "account"]
        # A change has only a number; codes and digests that are cached as unknown must be read.
        codes = [
            link.tracking_code for link in await read_entries(self._redis, Link, links) if link
        ]
        digests = [key.digest for key in await read_entries(self._redis, ApiKey, api_keys) if key]
        changed_rates = [rate for rate in await read_entries(self._redis, Rate, rates) if rate]
        await self.clients.reload(clients)
        await self.clients.reload_accounts(accounts)
        # No await from here on: a load that ends in between would cache an older value.
        self._generation += 1
        for code in codes:
            self._unknown_codes.pop(code)
        for digest in digests:
            self._keys.drop_unknown(digest)
        self._known_digests.add(digests)
        if changed_rates:
            self.rates.apply(changed_rates)
        for change in changes:
            self._drop(change)

    def _drop(self, change: RegistryChange) -> None:
        match change.kind:
            case "link":
                self._routes.drop_link(change.number)
            case "campaign" | "affiliate":
                self._campaigns.pop(change.number)
                self._affiliates.pop(change.number)
                self._routes.drop_owned_by(change.kind, change.number)
                self.coupons.clear()
            case "coupon":
                self.coupons.clear()
            case "account":
                self._keys.clear()
            case "key":
                self._keys.drop_key(change.number)
            case "webhook" | "rate" | "client" | "user":
                pass

    def clear(self) -> None:
        """Drops everything."""
        self._generation += 1
        known = self._routes, self._campaigns, self._affiliates, self._keys, self._known_digests
        for memory in (*known, self._unknown_codes, self.coupons, self.rates, self.clients):
            memory.clear()

    async def follow(self) -> None:
        """Applies the registry's changes for ever, on its own connection from the pool.

        Writes meanwhile when keys were used.
        """
        retries = BackOff(_RETRY_SECONDS, _RETRY_MAX_SECONDS)
        lost = False
        task = asyncio.current_task()
        # On Python 3.11 redis-py loses a cancellation that meets the end of a send (wait_for).
        while not (task and task.cancelling()):
            try:
                await self._follow_once()
                await self.key_uses.write()
                retries.reset()
                lost = False
            except RedisError as error:
                if not lost:
                    _log.warning("registry feed lost", error=type(error).__name__)
                lost = True
                await asyncio.sleep(next(retries))

    async def _follow_once(self) -> None:
        if not self._position:
            return await self.start_at_feed_end()
        position, changes = await read_changes(
            self._redis, self._position, _CHANGES_AT_ONCE, self._block_ms
        )
        # Checked after the read: while the old position exists, nothing after it was trimmed.
        if not await feed_contains(self._redis, self._position):
            _log.warning("registry feed has a gap")
            return await self.start_at_feed_end()
        await self.clients.load_keys_if_due()
        if changes:
            await self.apply_changes(changes)
            await asyncio.sleep(_PAUSE_SECONDS)
        self._position = position
        return None

    async def start_at_feed_end(self) -> None:
        """Drops everything; `follow` then applies all changes from now on."""
        # Reads the end first: entries loaded after the clearing are at least as new.
        end = await read_feed_end(self._redis)
        put_clients = await self.clients.read_all()
        self.clear()
        put_clients()
        self._position = end
