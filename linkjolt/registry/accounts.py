"""Creates, lists and disables accounts."""

from datetime import datetime

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.datasets import ACCOUNT_DEFAULT, INSTALLATION, Account
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.checks import check_name
from linkjolt.registry.entries import AccountEntry, User, parse_public_id, public_id
from linkjolt.registry.reads import read_all, read_entry
from linkjolt.registry.store import Registry
from linkjolt.storage.redis import call

NAME_DEFAULT = "default"


def account_id(account: Account) -> str:
    """Formats an account's id: `default` for the first, else `acc_2`."""
    return NAME_DEFAULT if account == ACCOUNT_DEFAULT else public_id("account", account)


async def create_account(registry: Registry, name: str, now: datetime) -> AccountEntry:
    """Creates an account; Rejected, naming the field, where its name is not one."""
    check_name(name)
    # The first account has no entry, but its number.
    await call(registry.redis, "HSETNX", redis_keys.REGISTRY_NUMBERS, "account", ACCOUNT_DEFAULT)
    return await registry.create(AccountEntry(number=0, name=name, created_at=now))


async def read_accounts(redis: Redis) -> list[AccountEntry]:
    """Reads all accounts but the first, in order of number."""
    return await read_all(redis, AccountEntry, INSTALLATION)


async def find_account(redis: Redis, text: str) -> Account:
    """Finds an account by its id; Rejected(not_found) where there is none."""
    if text == account_id(ACCOUNT_DEFAULT):
        return ACCOUNT_DEFAULT
    number = parse_public_id("account", text)
    if number is None or not (
        number == ACCOUNT_DEFAULT or await read_entry(redis, AccountEntry, number)
    ):
        raise Rejected(Reason.not_found, f"there is no account {text[:64]}")
    return Account(number)


async def set_disabled(registry: Registry, account: Account, now: datetime | None) -> None:
    """Disables an account from `now` on, or enables it; Rejected for the first one."""
    if account == ACCOUNT_DEFAULT:
        message = "the first account is the operator's: it cannot be disabled"
        raise Rejected(Reason.conflict, message)

    def changed(entry: AccountEntry) -> AccountEntry:
        if now and entry.disabled_at:
            return entry
        return msgspec.structs.replace(entry, disabled_at=now)

    await registry.patch(AccountEntry, INSTALLATION, account, changed)


async def is_disabled(redis: Redis, account: Account) -> bool:
    """Returns whether an account is disabled; RedisError passes through."""
    if account == ACCOUNT_DEFAULT:
        return False
    entry = await read_entry(redis, AccountEntry, account)
    return entry is not None and entry.disabled_at is not None


async def may_sign_in(redis: Redis, user: User) -> bool:
    """Returns whether a person, and the account, are neither disabled nor deleted."""
    return user.is_active and not await is_disabled(redis, user.account)
