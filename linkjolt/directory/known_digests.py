"""Holds the digests of all API keys, so that a stranger's secret costs no look-up."""

import asyncio
from collections.abc import Iterable

from redis.asyncio import Redis

from linkjolt.registry.entries import ApiKey
from linkjolt.registry.reads import read_entries, read_last_number
from linkjolt.storage.redis import RedisError

_PAGE = 500
# Of a digest's 32 bytes: enough to tell keys from what somebody made up.
_BYTES = 12


class KnownDigests:
    """Loads the digests when it is first asked; from then on `add` must name those of new keys."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._digests: set[bytes] = set()
        self._is_loaded = False
        self._loading: asyncio.Task[None] | None = None

    def is_unknown(self, digest: str) -> bool:
        """Returns True if no key has the digest; False also while they are loaded."""
        if not self._is_loaded and self._loading is None:
            self._loading = asyncio.create_task(self._load())
        return self._is_loaded and _short(digest) not in self._digests

    def add(self, digests: Iterable[str]) -> None:
        """Adds the digests of keys that were created or changed."""
        if self._is_loaded or self._loading:
            self._digests.update(map(_short, digests))

    def clear(self) -> None:
        """Forgets them: some may have been missed."""
        self._digests = set()
        self._is_loaded = False
        if self._loading:
            self._loading.cancel()
            self._loading = None

    async def _load(self) -> None:
        digests = self._digests
        try:
            newest = await read_last_number(self._redis, "key")
            for first in range(1, newest + 1, _PAGE):
                numbers = range(first, min(first + _PAGE, newest + 1))
                page = await read_entries(self._redis, ApiKey, numbers)
                for key in page:
                    former = key.former_secrets if key else ()
                    digests.update(_short(one.digest) for one in (key, *former) if one)
        except RedisError:
            # The next unknown secret tries again.
            self._loading = None
            return
        self._loading = None
        self._is_loaded = True


def _short(digest: str) -> bytes:
    return bytes.fromhex(digest[: _BYTES * 2])
