"""Caches an edge's registry entries in bounded maps, and shares loads that are under way."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from linkjolt.clicks.route import Route
from linkjolt.registry.entries import ApiKey, EntryKind

K = TypeVar("K")
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """At most `size` items; a new one evicts the one that was read or put longest ago."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        value = self._items.get(key)
        if value is not None:
            self._items.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> V | None:
        """Returns the evicted value, if any."""
        self._items[key] = value
        self._items.move_to_end(key)
        return self._items.popitem(last=False)[1] if len(self._items) > self._size else None

    def pop(self, key: K) -> V | None:
        return self._items.pop(key, None)

    def clear(self) -> None:
        self._items.clear()

    def __contains__(self, key: K) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)


class RouteCache:
    """At most `size` routes by code, indexed by every number that a change may name."""

    def __init__(self, size: int) -> None:
        self._routes: LruCache[str, Route] = LruCache(size)
        self.get = self._routes.get
        self._codes: dict[int, str] = {}
        # Codes by campaign and affiliate, so that a change needs no scan over all routes.
        self._codes_by_owner: dict[tuple[EntryKind, int], set[str]] = {}

    def by_number(self, number: int) -> Route | None:
        code = self._codes.get(number)
        return None if code is None else self._routes.get(code)

    def put(self, route: Route) -> None:
        link = route.link
        self.drop_link(link.number)
        if forgotten := self._routes.put(link.tracking_code, route):
            self._forget(forgotten)
        self._codes[link.number] = link.tracking_code
        for user in _owners(route):
            self._codes_by_owner.setdefault(user, set()).add(link.tracking_code)

    def drop_link(self, number: int) -> None:
        code = self._codes.get(number)
        if code is not None and (route := self._routes.pop(code)):
            self._forget(route)

    def drop_owned_by(self, kind: EntryKind, number: int) -> None:
        """Drops every route of this campaign or affiliate."""
        for code in list(self._codes_by_owner.get((kind, number), ())):
            if route := self._routes.pop(code):
                self._forget(route)

    def clear(self) -> None:
        self._routes.clear()
        self._codes.clear()
        self._codes_by_owner.clear()

    def sizes(self) -> tuple[int, int, int]:
        """Counts the routes, their numbers, and their entries under owners."""
        return len(self._routes), len(self._codes), sum(map(len, self._codes_by_owner.values()))

    def _forget(self, route: Route) -> None:
        self._codes.pop(route.link.number, None)
        for user in _owners(route):
            codes = self._codes_by_owner.get(user, set())
            codes.discard(route.link.tracking_code)
            if not codes:
                self._codes_by_owner.pop(user, None)


def _owners(route: Route) -> tuple[tuple[EntryKind, int], tuple[EntryKind, int]]:
    return ("campaign", route.link.campaign), ("affiliate", route.link.affiliate)


class KeyCache:
    """At most `size` API keys by digest and by secret; caches unknown digests too.

    A key has a digest for each of its secrets, and an entry under each that was used
    (`ApiKey.found_by`). A secret is cached as long as its key: hashing it costs as much as the rest
    of a look-up.
    """

    def __init__(self, size: int, unknown_size: int) -> None:
        self._keys: LruCache[str, ApiKey] = LruCache(size)
        self._unknown: LruCache[str, bool] = LruCache(unknown_size)
        self._digests: dict[str, str] = {}
        self._secrets: dict[str, str] = {}
        # A change names the key alone, and the stored one may know a former digest no more.
        self._digests_by_number: dict[int, set[str]] = {}

    def by_secret(self, secret: str) -> ApiKey | None:
        digest = self._digests.get(secret)
        return None if digest is None else self._keys.get(digest)

    def remember_secret(self, secret: str, digest: str) -> ApiKey | None:
        """Returns the key of this digest; if there is one, `by_secret` finds it from now on."""
        key = self._keys.get(digest)
        if key:
            self._digests[secret] = digest
            self._secrets[digest] = secret
        return key

    def is_unknown(self, digest: str) -> bool:
        """Returns True if no key was found under the digest."""
        return digest in self._unknown

    def put(self, digest: str, key: ApiKey | None) -> None:
        if key is None:
            self._unknown.put(digest, True)
            return
        self._digests_by_number.setdefault(key.number, set()).add(digest)
        if forgotten := self._keys.put(digest, key):
            self._forget(forgotten)

    def drop_key(self, number: int) -> None:
        """Drops a key under all of its digests."""
        for digest in list(self._digests_by_number.get(number, ())):
            if key := self._keys.pop(digest):
                self._forget(key)

    def drop_unknown(self, digest: str) -> None:
        self._unknown.pop(digest)

    def clear(self) -> None:
        self._keys.clear()
        self._unknown.clear()
        self._digests.clear()
        self._secrets.clear()
        self._digests_by_number.clear()

    def sizes(self) -> tuple[int, int, int, int]:
        """Counts the keys, their secrets, the secrets by digest, and the digests by number."""
        by_number = sum(map(len, self._digests_by_number.values()))
        return len(self._keys), len(self._digests), len(self._secrets), by_number

    def _forget(self, key: ApiKey) -> None:
        secret = self._secrets.pop(key.digest, None)
        if secret is not None:
            del self._digests[secret]
        digests = self._digests_by_number.get(key.number, set())
        digests.discard(key.digest)
        if not digests:
            self._digests_by_number.pop(key.number, None)


class SingleFlight(Generic[K, V]):
    """Shares running loads: a caller that misses a key while it is loaded awaits the same load."""

    def __init__(self) -> None:
        self._running: dict[K, asyncio.Task[V]] = {}

    async def run(self, key: K, load: Callable[[], Coroutine[None, None, V]]) -> V:
        """Returns or raises the result of `load`. A cancelled caller does not stop the others."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(load())
            task.add_done_callback(lambda _: self._running.pop(key))
        return await asyncio.shield(task)
