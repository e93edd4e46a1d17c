"""Prepares the writes of people's entries, which never leave an account without an owner."""

from pathlib import Path

import msgspec

from linkjolt import redis_keys
from linkjolt.registry.people.entry import User
from linkjolt.storage.lua import read_script
from linkjolt.storage.sealing import sealed_by

WRITE_SCRIPT = read_script(Path(__file__).parent / "write_user.lua")


def user_write(
    expected: bytes, before: User, after: User, state: str, audited: bytes
) -> tuple[list[str], list[str | bytes]]:
    """Returns the keys and arguments with which the script replaces an entry, sealed already.

    `audited` is the entry of the audit log.
    """
    keys = [
        redis_keys.registry_entry("user", after.number),
        redis_keys.registry_index("user", after.account),
        redis_keys.REGISTRY_CHANGES,
        redis_keys.AUDIT_REGISTRY,
        redis_keys.owners(after.account),
        redis_keys.user_email(before.email),
        redis_keys.user_email(after.email),
        redis_keys.SECRETS,
    ]
    body = msgspec.json.encode(after)
    keeps = "keep" if after.email and state != "deleted" else ""
    owner = "owner" if after.is_owner else ""
    key_ids = " ".join(sealed_by(body) - sealed_by(expected))
    return (keys, [expected, body, str(after.number), state, owner, keeps, key_ids, audited])


def without_personal_data(user: User) -> User:
    """Leaves what histories show of a person: the name."""
    return User(
        number=user.number,
        account=user.account,
        email="",
        name=user.name,
        role=user.role,
        created_at=user.created_at,
    )
