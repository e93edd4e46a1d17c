"""Coupons in an edge's memory, with the campaign that pays for each and the affiliate who earns."""

from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.clicks.route import CouponRoute
from linkjolt.directory.caches import Lru
from linkjolt.directory.redis_outage import Guarded
from linkjolt.registry.entries import Affiliate, Campaign, Coupon
from linkjolt.registry.reads import read_entry, read_pointer

_CACHED = 10_000


class Coupons:
    """Forgets all of them when a coupon, a campaign or an affiliate changes, which is rare."""

    def __init__(
        self,
        redis: Redis,
        guarded: Guarded,
        campaign: Callable[[int], Awaitable[Campaign | None]],
        affiliate: Callable[[int], Awaitable[Affiliate | None]],
    ) -> None:
        self._redis = redis
        self._guarded = guarded
        self._campaign = campaign
        self._affiliate = affiliate
        self._found: Lru[tuple[int, str], CouponRoute] = Lru(_CACHED)
        self._unknown: Lru[tuple[int, str], bool] = Lru(_CACHED)
        self._generation = 0

    def now(self, account: int, code: str) -> CouponRoute | None:
        """The coupon of a code, however it is written, if it is in memory."""
        return self._found.get((account, code.upper()))

    def unknown_now(self, account: int, code: str) -> bool:
        """True where memory already says that the account has no such coupon."""
        return (account, code.upper()) in self._unknown

    async def find(self, account: int, code: str) -> CouponRoute | None:
        """The coupon of a code; None where the account has none, or has deleted it."""
        key = account, code.upper()
        if (found := self._found.get(key)) or key in self._unknown:
            return found
        return await self._guarded.ask(
            lambda: self._load(key), lambda copy: copy.coupon(account, key[1])
        )

    async def _load(self, key: tuple[int, str]) -> CouponRoute | None:
        generation = self._generation
        number = await read_pointer(self._redis, redis_keys.coupon_code(*key))
        coupon = await read_entry(self._redis, Coupon, number) if number else None
        route = await self._route(coupon) if coupon and coupon.deleted_at is None else None
        if generation == self._generation:
            if route:
                self._found.put(key, route)
            else:
                self._unknown.put(key, True)
        return route

    async def _route(self, coupon: Coupon) -> CouponRoute | None:
        campaign = await self._campaign(coupon.campaign)
        affiliate = await self._affiliate(coupon.affiliate)
        return CouponRoute(coupon, campaign, affiliate) if campaign and affiliate else None

    def clear(self) -> None:
        self._generation += 1
        self._found.clear()
        self._unknown.clear()
