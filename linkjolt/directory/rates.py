"""Caches the exchange rates of accounts whose commissions were converted by them."""

from collections.abc import Sequence

from redis.asyncio import Redis

from linkjolt.datasets import Account
from linkjolt.directory.caches import LruCache, SingleFlight
from linkjolt.directory.redis_outage import CircuitBreaker
from linkjolt.registry.entries import Rate
from linkjolt.registry.rates import RateTable
from linkjolt.registry.reads import read_all

_ACCOUNTS_CACHED = 1_000


class RateDirectory:
    """Loads all rates of an account at once, and applies later changes one by one."""

    def __init__(self, redis: Redis, breaker: CircuitBreaker) -> None:
        self._redis = redis
        self._breaker = breaker
        self._tables: LruCache[Account, RateTable] = LruCache(_ACCOUNTS_CACHED)
        self._loads: SingleFlight[tuple[int, Account], RateTable] = SingleFlight()
        # Part of every load's key: a load from before a change is neither cached nor joined.
        self._generation = 0

    async def table(self, account: Account) -> RateTable:
        """Returns the account's rates; RedisError where they cannot be read."""
        if table := self._tables.get(account):
            return table
        at = self._generation, account
        table = await self._breaker.read(
            lambda: self._loads.run(at, lambda: self._load(account)),
            lambda copy: copy.rates(account),
        )
        return table or RateTable()

    async def _load(self, account: Account) -> RateTable:
        generation = self._generation
        table = RateTable(await read_all(self._redis, Rate, account))
        if generation == self._generation:
            self._tables.put(account, table)
        return table

    def apply(self, rates: Sequence[Rate]) -> None:
        """Applies created and deleted rates to the tables in memory."""
        self._generation += 1
        for rate in rates:
            if table := self._tables.get(rate.account):
                table.put(rate)

    def clear(self) -> None:
        self._generation += 1
        self._tables.clear()
