"""Holds the OAuth clients and the keys of their tokens in memory, so that tokens are checked there.

All clients are loaded at the start, and again with each change: what is revoked is known here
before anybody asks, and while Redis is unavailable, too.
"""

import time
from collections.abc import Callable, Sequence

import msgspec
import structlog
from redis.asyncio import Redis

from linkjolt.datasets import ACCOUNT_DEFAULT, Account
from linkjolt.directory.caches import LruCache
from linkjolt.directory.redis_outage import CircuitBreaker
from linkjolt.registry.entries import AccountEntry, OAuthClient
from linkjolt.registry.keyring import FOLLOW_SECONDS, TokenKey, load_token_keys
from linkjolt.registry.reads import (
    ENTRY_KINDS,
    E,
    read_entries,
    read_entry,
    read_last_number,
)
from linkjolt.storage.sealing import Sealer, SealError

_CLIENTS_CACHED = 10_000
_ACCOUNTS_CACHED = 10_000
_PAGE = 1_000
_log = structlog.get_logger()


class KnownClient(msgspec.Struct, frozen=True):
    """A client, and the ids of its revoked tokens."""

    entry: OAuthClient
    revoked_ids: frozenset[str]

    def has_revoked(self, token_id: str, issued_ms: int) -> bool:
        return issued_ms <= self.entry.revoked_until_ms or token_id in self.revoked_ids


class ClientDirectory:
    """Looks up OAuth clients by number, deleted ones too, and the keys that sign their tokens."""

    def __init__(self, redis: Redis, breaker: CircuitBreaker) -> None:
        self._redis = redis
        self._breaker = breaker
        self._clients: LruCache[int, KnownClient] = LruCache(_CLIENTS_CACHED)
        self._accounts: LruCache[int, AccountEntry] = LruCache(_ACCOUNTS_CACHED)
        # The newest first; an edge that starts without Redis sets them from its snapshot.
        self.token_keys: tuple[TokenKey, ...] = ()
        self._load_keys_at_monotonic = 0.0
        # Without one no token is known.
        self.sealer: Sealer | None = None

    async def client(self, number: int) -> KnownClient | None:
        """Returns a client from memory, else from Redis or the snapshot; None if there is none."""
        if known := self._clients.get(number):
            return known
        entry = await self._breaker.read(
            lambda: read_entry(self._redis, OAuthClient, number), lambda copy: copy.client(number)
        )
        return self.put(entry) if entry else None

    async def is_disabled(self, account: Account) -> bool:
        """Returns whether an account is disabled, by memory, else by Redis or the snapshot."""
        if account == ACCOUNT_DEFAULT:
            return False
        entry = self._accounts.get(account)
        if entry is None:
            read = await self._breaker.read(
                lambda: read_entry(self._redis, AccountEntry, account),
                lambda copy: copy.account(account),
            )
            # A change that arrived meanwhile is newer.
            entry = self._accounts.get(account) or read
            if entry:
                self._accounts.put(account, entry)
        return entry is not None and entry.disabled_at is not None

    async def reload(self, numbers: Sequence[int]) -> None:
        """Reads clients that have changed."""
        for entry in await read_entries(self._redis, OAuthClient, numbers):
            if entry:
                self.put(entry)

    async def reload_accounts(self, numbers: Sequence[int]) -> None:
        """Reads accounts that have changed."""
        for entry in await read_entries(self._redis, AccountEntry, numbers):
            if entry:
                self._accounts.put(entry.number, entry)

    async def read_all(self) -> Callable[[], None]:
        """Reads the keys, the accounts and every client; returns what puts them into memory."""
        await self.load_keys()
        accounts = await self._read_kind(AccountEntry)
        clients = [one for one in await self._read_kind(OAuthClient) if one.deleted_at is None]

        def put_all() -> None:
            for account in accounts:
                self._accounts.put(account.number, account)
            for client in clients:
                self.put(client)

        return put_all

    async def _read_kind(self, kind: type[E]) -> list[E]:
        found: list[E] = []
        last = await read_last_number(self._redis, ENTRY_KINDS[kind])
        for start in range(1, last + 1, _PAGE):
            numbers = range(start, min(start + _PAGE, last + 1))
            found += [one for one in await read_entries(self._redis, kind, numbers) if one]
        return found

    async def load_keys_if_due(self) -> None:
        """Reads the keys so often that each is known before it signs."""
        if time.monotonic() >= self._load_keys_at_monotonic:
            await self.load_keys()

    async def load_keys(self) -> None:
        if self.sealer is None:
            return
        self._load_keys_at_monotonic = time.monotonic() + FOLLOW_SECONDS
        try:
            found = await load_token_keys(self._redis, self.sealer)
        except SealError as error:
            _log.error("keys of tokens do not open, the former ones stay", error=str(error))
            return
        # A Redis that was emptied has made itself other secrets: those of the start count.
        if not self.token_keys or self.token_keys[0] in found:
            self.token_keys = found

    def clear(self) -> None:
        self._clients.clear()
        self._accounts.clear()

    def put(self, entry: OAuthClient) -> KnownClient:
        """Holds a client unless a newer copy is held: reads that began earlier may end later."""
        held = self._clients.get(entry.number)
        if held and _age(held.entry) > _age(entry):
            return held
        known = KnownClient(entry, frozenset(token.id for token in entry.revoked))
        self._clients.put(entry.number, known)
        return known


def _age(entry: OAuthClient) -> tuple[bool, int]:
    return entry.deleted_at is not None, entry.revision
