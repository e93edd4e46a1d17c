"""Sums refused authentications for the audit log: by network, key hint and minute.

Whoever floods a listener with bad keys leaves some entries a minute, whatever they send.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qs

import msgspec
from redis.asyncio import Redis
from starlette.types import Scope

from linkjolt import redis_keys
from linkjolt.audit_log.entries import AuditEntry, make_uid
from linkjolt.clicks.addresses import network_address
from linkjolt.datasets import ACCOUNT_DEFAULT, Account
from linkjolt.directory.directory import Directory
from linkjolt.logs import MINUTE
from linkjolt.registry import api_key_secrets
from linkjolt.storage.redis import RedisError, call
from linkjolt.web import requests

OPERATION = "refusedAuthentication"
OTHERS = "others"
SIGN_IN = "sign-in"
# Of a request's scope: the account of whom a sign-in names.
REFUSED_ACCOUNT = "linkjolt.refused_account"
_SIGN_IN_PATHS = ("/v1/session", "/v1/session/link")
# Of one process in a minute; the rest is one entry more.
SUMS_MAX = 50
# In the stream, while no aggregator stores them.
_ENTRIES_MAX = 10_000
_LOOK_SECONDS = 1.0
_is_key = re.compile(r"lj_(?:live|test)_[0-9A-Za-z]{4,}").fullmatch
_is_id = re.compile(r"key_[0-9]{1,10}").fullmatch


class RefusalSum(msgspec.Struct, frozen=True):
    """The refusals that are counted together."""

    account: Account
    address: str
    key_hint: str


class RefusedAuthentications:
    """Counts the refusals of one process; `run` writes the sums of each minute."""

    def __init__(
        self,
        redis: Redis,
        directory: Directory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._directory = directory
        self._clock = clock
        self._sums: Counter[RefusalSum] = Counter()
        self._since = clock()

    def count(self, scope: Scope) -> None:
        """Counts a request that is answered 401, if it named a key or tried to sign in."""
        # What nobody has belongs to nobody: the operator sees it.
        account: Account = scope.get(REFUSED_ACCOUNT, ACCOUNT_DEFAULT)
        if secret := _secret_of(scope):
            hint = _hint_of(secret)
            if key := self._directory.cached_key(secret):
                account = key.account
        elif scope["method"] == "POST" and scope["path"] in _SIGN_IN_PATHS:
            hint = SIGN_IN
        else:
            return
        address = network_address(self._directory.addresses.read(scope))
        found = RefusalSum(account, address, hint)
        if found not in self._sums and len(self._sums) >= SUMS_MAX:
            found = RefusalSum(ACCOUNT_DEFAULT, OTHERS, OTHERS)
        self._sums[found] += 1

    async def run(self) -> None:
        """Writes the sums of each minute until it is cancelled, then those of the last one."""
        try:
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                if not self._sums:
                    self._since = self._clock()
                elif self._clock() - self._since >= MINUTE:
                    await self._try_to_write()
        finally:
            await self._try_to_write()

    async def _try_to_write(self) -> None:
        # While Redis is unavailable the sums go on, as bounded as before.
        with suppress(RedisError):
            await self.write()

    async def write(self) -> None:
        """Writes the sums so far; after RedisError they are summed further."""
        sums = self._sums
        self._sums = Counter()
        try:
            for found, count in [*sums.items()]:
                entry = msgspec.json.encode(_entry(found, count))
                arguments = ("MAXLEN", "~", _ENTRIES_MAX, "*", "e", entry)
                await call(self._redis, "XADD", redis_keys.AUDIT_REFUSED, *arguments)
                del sums[found]
        finally:
            for found, count in sums.items():
                self._sums[found] += count
            self._since = self._clock()


def _entry(found: RefusalSum, count: int) -> AuditEntry:
    return AuditEntry(
        uid=make_uid(),
        account=found.account,
        actor="",
        operation=OPERATION,
        status=401,
        address=found.address,
        key_hint=found.key_hint,
        count=count,
    )


def _hint_of(secret: str) -> str:
    """Returns the part of a key that may be shown; '' for a password that was sent by mistake."""
    if _is_id(secret):
        return secret
    return api_key_secrets.hint(secret) if _is_key(secret) else ""


def _secret_of(scope: Scope) -> str:
    """Returns the key that a request named in its header or its query, '' for none."""
    scheme, _, secret = requests.header(scope, b"authorization").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    named = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return next((values[0] for name in ("key", "key_id") if (values := named.get(name))), "")
