"""What an edge remembers: bounded maps that forget the longest unused, and shared loads."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from linkjolt.clicks.route import Route
from linkjolt.registry.entries import ApiKey, Kind

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """At most `size` items; a new one puts out the one that was read or put longest ago."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        value = self._items.get(key)
        if value is not None:
            self._items.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> V | None:
        """Returns what had to go, if anything."""
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


class Routes:
    """At most `size` routes by code, found again by whatever a change may name."""

    def __init__(self, size: int) -> None:
        self._routes: Lru[str, Route] = Lru(size)
        self.get = self._routes.get
        self._codes: dict[int, str] = {}
        # Codes by campaign and affiliate, so that one change costs no scan over all routes.
        self._users: dict[tuple[Kind, int], set[str]] = {}

    def by_number(self, number: int) -> Route | None:
        code = self._codes.get(number)
        return None if code is None else self._routes.get(code)

    def put(self, route: Route) -> None:
        link = route.link
        self.drop_link(link.number)
        if forgotten := self._routes.put(link.tracking_code, route):
            self._forget(forgotten)
        self._codes[link.number] = link.tracking_code
        for user in _users(route):
            self._users.setdefault(user, set()).add(link.tracking_code)

    def drop_link(self, number: int) -> None:
        code = self._codes.get(number)
        if code is not None and (route := self._routes.pop(code)):
            self._forget(route)

    def drop_users(self, kind: Kind, number: int) -> None:
        """Drops every route on this campaign or affiliate."""
        for code in list(self._users.get((kind, number), ())):
            if route := self._routes.pop(code):
                self._forget(route)

    def clear(self) -> None:
        self._routes.clear()
        self._codes.clear()
        self._users.clear()

    def sizes(self) -> tuple[int, int, int]:
        """Routes, their numbers, and their places among the users."""
        return len(self._routes), len(self._codes), sum(map(len, self._users.values()))

    def _forget(self, route: Route) -> None:
        self._codes.pop(route.link.number, None)
        for user in _users(route):
            codes = self._users.get(user, set())
            codes.discard(route.link.tracking_code)
            if not codes:
                self._users.pop(user, None)


def _users(route: Route) -> tuple[tuple[Kind, int], tuple[Kind, int]]:
    return ("campaign", route.link.campaign), ("affiliate", route.link.affiliate)


class Keys:
    """At most `size` API keys by digest, and by the secrets that led to them; unknown digests too.

    A secret is known for as long as its key: hashing it costs as much as all else of a look-up.
    """

    def __init__(self, size: int, unknown_size: int) -> None:
        self._keys: Lru[str, ApiKey] = Lru(size)
        self._unknown: Lru[str, bool] = Lru(unknown_size)
        self._digests: dict[str, str] = {}
        self._secrets: dict[str, str] = {}

    def by_secret(self, secret: str) -> ApiKey | None:
        digest = self._digests.get(secret)
        return None if digest is None else self._keys.get(digest)

    def learn(self, secret: str, digest: str) -> ApiKey | None:
        """The key of this digest; where there is one, `by_secret` finds it from now on."""
        key = self._keys.get(digest)
        if key:
            self._digests[secret] = digest
            self._secrets[digest] = secret
        return key

    def unknown(self, digest: str) -> bool:
        """True where no key was found under it."""
        return digest in self._unknown

    def put(self, digest: str, key: ApiKey | None) -> None:
        if key is None:
            self._unknown.put(digest, True)
        elif forgotten := self._keys.put(digest, key):
            self._forget(forgotten.digest)

    def pop(self, digest: str) -> None:
        self._keys.pop(digest)
        self._unknown.pop(digest)
        self._forget(digest)

    def clear(self) -> None:
        self._keys.clear()
        self._unknown.clear()
        self._digests.clear()
        self._secrets.clear()

    def sizes(self) -> tuple[int, int, int]:
        """Keys, their secrets, and these by digest."""
        return len(self._keys), len(self._digests), len(self._secrets)

    def _forget(self, digest: str) -> None:
        secret = self._secrets.pop(digest, None)
        if secret is not None:
            del self._digests[secret]


class Loads(Generic[K, V]):
    """Loads under way: whoever misses the same key meanwhile waits for the same one."""

    def __init__(self) -> None:
        self._running: dict[K, asyncio.Task[V]] = {}

    async def run(self, key: K, load: Callable[[], Coroutine[None, None, V]]) -> V:
        """What `load` returns or raises. A caller that gives up does not stop it for others."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(load())
            task.add_done_callback(lambda _: self._running.pop(key))
        return await asyncio.shield(task)
