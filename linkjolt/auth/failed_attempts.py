"""Bounds how often an address may fail to authenticate, without a cost for those who do not."""

from collections import OrderedDict
from hashlib import blake2s

from starlette.types import Scope

from linkjolt import redis_keys
from linkjolt.auth.gcra import Limit
from linkjolt.auth.shares import Bucket, Shares
from linkjolt.clicks.client_address import AddressReader

# The oldest are forgotten: whoever has more addresses than this needs no second try of one.
_ADDRESSES_MAX = 10_000
# Bounds the keys in Redis that strangers can make; beyond it, a process counts by itself.
_REPORTS_A_SECOND = 100


class FailedAttempts:
    """Counts failed authentications by address: an IPv4 address, or the /64 of an IPv6 address."""

    def __init__(self, shares: Shares, addresses: AddressReader, limit: Limit) -> None:
        self._shares = shares
        self._addresses = addresses
        self._limit = limit
        self._buckets: OrderedDict[bytes, Bucket] = OrderedDict()
        self._second = 0
        self._reported = 0

    @property
    def known(self) -> int:
        """Counts the addresses in memory."""
        return len(self._buckets)

    def refusing(self, scope: Scope) -> Bucket | None:
        """Returns the limit of a request's address if it has no attempt left."""
        bucket = self._buckets.get(self._addresses.read_network(scope))
        return bucket if bucket and self._shares.is_refused(bucket) else None

    def count(self, scope: Scope) -> Bucket | None:
        """Counts a failed attempt; returns the limit of its address if that had none left."""
        bucket = self._bucket(self._addresses.read_network(scope))
        if not self._shares.take_unleased(bucket):
            return bucket
        if self._may_report():
            self._shares.report(bucket)
        return None

    def _bucket(self, network: bytes) -> Bucket:
        bucket = self._buckets.pop(network, None)
        if bucket is None:
            digest = blake2s(network, digest_size=8, person=b"address").hexdigest()
            bucket = Bucket(redis_keys.rate_limit(self._limit.name, digest), self._limit)
        if len(self._buckets) >= _ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        self._buckets[network] = bucket
        return bucket

    def _may_report(self) -> bool:
        second = int(self._shares.clock())
        if second != self._second:
            self._second, self._reported = second, 0
        self._reported += 1
        return self._reported <= _REPORTS_A_SECOND
