"""Makes the entries of the audit log, as they travel through Redis streams.

An entry is appended by the script that makes the change: neither is there without the other. It
shows the values of fields that are known to hold nothing secret and nothing personal.
"""

import re
import secrets
from collections.abc import Iterable
from typing import cast

import msgspec

from linkjolt.datasets import Account

# In place of a value that is not shown: the entry says only that it changed.
HIDDEN = "[hidden]"
_TEXT_MAX = 300
_UID_BYTES = 8
_EMAIL = re.compile(r"[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+")
_SECRET_PARAMETER = re.compile(
    r"([?&][^=&#]*(?:token|secret|passw|pwd|key|sig|auth)[^=&#]*=)[^&#]*", re.IGNORECASE
)
_encode = msgspec.json.Encoder().encode
# The name of a field, its value before and after.
FieldChange = tuple[str, object, object]


class AuditSource(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever makes a write, and the request that asks for it.

    `actor` is a key's id, `cli`, or `system` for what LinkJolt does by itself; `operation` is an
    operation's id in the OpenAPI document, or a command. `address` is truncated.
    """

    actor: str
    actor_name: str = ""
    operation: str = ""
    status: int = 0
    request_id: str = ""
    address: str = ""


SYSTEM = AuditSource(actor="system")


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry: a write, or `count` refused authentications of a minute.

    `uid` is its own, so that it is stored once. `object` is a public id; `changes` is a JSON object
    of fields with their values before and after. `key_hint` is of the key that was refused.
    """

    uid: str
    account: Account
    actor: str
    actor_name: str = ""
    operation: str = ""
    object: str = ""
    changes: str = "{}"
    status: int = 0
    request_id: str = ""
    address: str = ""
    key_hint: str = ""
    count: int = 1


def encode_entry(
    source: AuditSource, account: Account, object_id: str, changes: Iterable[FieldChange]
) -> bytes:
    """Encodes the entry of a write for the script that makes it."""
    entry = AuditEntry(
        uid=make_uid(),
        account=account,
        object=object_id,
        changes=_encode_changes(changes),
        actor=source.actor,
        actor_name=mask(source.actor_name),
        operation=source.operation,
        status=source.status,
        request_id=source.request_id,
        address=source.address,
    )
    return _encode(entry)


def make_uid() -> str:
    """Makes the id of an entry, which no other one has."""
    return secrets.token_hex(_UID_BYTES)


def mask(text: str) -> str:
    """Hides e-mail addresses and secret parameters of URLs in a text, and shortens it."""
    shown = _SECRET_PARAMETER.sub(rf"\1{HIDDEN}", _EMAIL.sub(HIDDEN, text))
    return shown if len(shown) <= _TEXT_MAX else f"{shown[: _TEXT_MAX - 1]}…"


def _encode_changes(changes: Iterable[FieldChange]) -> str:
    shown = {
        name: {"before": _shown(before), "after": _shown(after)} for name, before, after in changes
    }
    return _encode(shown).decode()


def _shown(value: object) -> object:
    """Returns plain JSON with the texts masked."""
    return _masked(msgspec.to_builtins(value))


def _masked(value: object) -> object:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list | tuple):
        return [_masked(part) for part in cast("Iterable[object]", value)]
    if isinstance(value, dict):
        return {name: _masked(part) for name, part in cast("dict[str, object]", value).items()}
    return value
