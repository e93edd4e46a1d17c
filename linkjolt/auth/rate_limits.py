"""Limits requests by key and account, and failed authentications by address."""

import math
import time
from collections.abc import Callable, Sequence

from redis.asyncio import Redis
from starlette.types import Scope

from linkjolt.auth import gcra, metrics
from linkjolt.auth.failed_attempts import FailedAttempts
from linkjolt.auth.gcra import Limit
from linkjolt.auth.key_grants import effective_rate
from linkjolt.auth.shares import Bucket, Shares
from linkjolt.clicks.client_address import address_reader
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.settings import SharedSettings
from linkjolt.web import requests

_REFUSALS = {
    "key": "the API key may send {} requests a minute",
    "account": "the account may send {} requests a minute",
    "intake": "the API key may post {} times a minute",
    "address": "the address may fail to authenticate {} times a minute: correct the API key",
}


class RateLimits:
    """The limits of one process, which shares them with all others through Redis.

    Requests are judged from memory; run `run` beside it.
    """

    def __init__(self, redis: Redis, settings: SharedSettings) -> None:
        self.shares = Shares(redis)
        self.run = self.shares.run
        self._key_per_minute = settings.rate_key_per_minute
        self._account = gcra.limit("account", settings.rate_account_per_minute)
        self._intake = gcra.limit("intake", settings.rate_intake_per_minute)
        self.has_intake = self._intake is not None
        failures = gcra.minute_limit("address", settings.rate_failures_per_minute)
        addresses = address_reader(settings)
        self.failures = FailedAttempts(self.shares, addresses, failures) if failures else None

    async def take(self, scope: Scope, key: ApiKey) -> None:
        """Counts a request of a key; Rejected over its limit or its account's.

        Counts it once, however often a long answer checks its key again.
        """
        limits = (self._limit_of(key), key.holder), (self._account, key.account)
        await self._take(scope, limits)

    async def take_post(self, scope: Scope, key: ApiKey) -> None:
        """Counts a posted conversion or a postback; Rejected over the limit of intake."""
        await self._take(scope, ((self._intake, key.number),))

    def check_failures(self, scope: Scope, is_unknown: Callable[[], bool]) -> None:
        """Rejected if an address failed too often, and would again, as its key is unknown."""
        bucket = self.failures and self.failures.refusing(scope)
        if bucket and is_unknown():
            raise self._refuse(scope, bucket, (bucket,))

    def count_failure(self, scope: Scope, refused: Rejected) -> Rejected:
        """Counts a refusal if it is for the credentials; returns how it is answered."""
        if self.failures and refused.reason is Reason.unauthorized:
            bucket = self.failures.count(scope)
            return self._refuse(scope, bucket, (bucket,)) if bucket else refused
        return refused

    def _limit_of(self, key: ApiKey) -> Limit | None:
        return gcra.limit("key", effective_rate(key, self._key_per_minute))

    async def _take(self, scope: Scope, limits: Sequence[tuple[Limit | None, int]]) -> None:
        if requests.ADDED_HEADERS in scope:
            return
        buckets = [self.shares.bucket(limit, holder) for limit, holder in limits if limit]
        for index, bucket in enumerate(buckets):
            if not await self.shares.take(bucket):
                for taken in buckets[:index]:
                    self.shares.give_back(taken)
                raise self._refuse(scope, bucket, buckets)
        if buckets:
            scope[requests.ADDED_HEADERS] = _headers(buckets, self.shares.clock())

    def _refuse(self, scope: Scope, bucket: Bucket, buckets: Sequence[Bucket]) -> Rejected:
        now = self.shares.clock()
        metrics.RATE_LIMITED.labels(bucket.limit.name).inc()
        scope[requests.ADDED_HEADERS] = _headers(buckets, now, bucket)
        return Rejected(
            Reason.rate_limited,
            _REFUSALS[bucket.limit.name].format(bucket.limit.per_minute),
            retry_after_seconds=_retry_after(bucket, now),
        )


def _retry_after(bucket: Bucket, now: float) -> int:
    return max(1, math.ceil(bucket.refused_until - now))


def _headers(
    buckets: Sequence[Bucket], now: float, refused: Bucket | None = None
) -> list[tuple[bytes, bytes]]:
    """Writes the limits of a request as RateLimit and as X-RateLimit headers.

    As in draft-ietf-httpapi-ratelimit-headers-10: `r` requests may be sent at once, and all are
    there again after `t` seconds; of the limit that refused the request, the next one is.
    """
    policies: list[str] = []
    states: list[str] = []
    left: list[tuple[int, int, int]] = []
    for bucket in buckets:
        limit = bucket.limit
        remaining = 0 if bucket is refused else bucket.remaining(now)
        missing_seconds = (limit.burst - remaining) * limit.interval_seconds
        reset = _retry_after(bucket, now) if bucket is refused else math.ceil(missing_seconds)
        policies.append(f'"{limit.name}";q={limit.per_minute};w=60')
        states.append(f'"{limit.name}";r={remaining};t={reset}')
        left.append((remaining, limit.per_minute, reset))
    remaining, per_minute, reset = min(left)
    return [
        (b"ratelimit-policy", ", ".join(policies).encode()),
        (b"ratelimit", ", ".join(states).encode()),
        (b"x-ratelimit-limit", b"%d" % per_minute),
        (b"x-ratelimit-remaining", b"%d" % remaining),
        (b"x-ratelimit-reset", b"%d" % (math.ceil(time.time()) + reset)),
    ]
