"""Caches coupons, each with the campaign that pays for it and the affiliate who earns."""

from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.clicks.route import CouponRoute, coupon_route
from linkjolt.datasets import Account
from linkjolt.directory.caches import LruCache
from linkjolt.directory.redis_outage import CircuitBreaker
from linkjolt.registry.entries import Affiliate, Campaign, Coupon
from linkjolt.registry.reads import read_entry, read_pointer

_CACHED = 10_000


class CouponDirectory:
    """Drops all coupons when a coupon, a campaign or an affiliate changes, which is rare."""

    def __init__(
        self,
        redis: Redis,
        breaker: CircuitBreaker,
        campaign: Callable[[int], Awaitable[Campaign | None]],
        affiliate: Callable[[int], Awaitable[Affiliate | None]],
    ) -> None:
        self._redis = redis
        self._breaker = breaker
        self._campaign = campaign
        self._affiliate = affiliate
        self._routes: LruCache[tuple[Account, str], CouponRoute] = LruCache(_CACHED)
        self._unknown: LruCache[tuple[Account, str], bool] = LruCache(_CACHED)
        self._generation = 0

    def cached(self, account: Account, code: str) -> CouponRoute | None:
        """Returns the coupon of a code in any case, if it is in memory."""
        return self._routes.get((account, code.upper()))

    def is_known_missing(self, account: Account, code: str) -> bool:
        """Returns True if memory says that the account has no such coupon."""
        return (account, code.upper()) in self._unknown

    async def find(self, account: Account, code: str) -> CouponRoute | None:
        """Returns the coupon of a code; None if the account has none that earns, or deleted it."""
        key = account, code.upper()
        if (route := self._routes.get(key)) or key in self._unknown:
            return route
        return await self._breaker.read(
            lambda: self._load(key), lambda copy: copy.coupon(account, key[1])
        )

    async def _load(self, key: tuple[Account, str]) -> CouponRoute | None:
        generation = self._generation
        number = await read_pointer(self._redis, redis_keys.coupon_code(*key))
        coupon = await read_entry(self._redis, Coupon, number) if number else None
        route = await self._route(coupon) if coupon else None
        if generation == self._generation:
            if route:
                self._routes.put(key, route)
            else:
                self._unknown.put(key, True)
        return route

    async def _route(self, coupon: Coupon) -> CouponRoute | None:
        campaign = await self._campaign(coupon.campaign)
        affiliate = await self._affiliate(coupon.affiliate)
        return coupon_route(coupon, campaign, affiliate)

    def clear(self) -> None:
        self._generation += 1
        self._routes.clear()
        self._unknown.clear()
