"""Chains the rows of the audit log: a row's hash is of its content and of the row before it."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.audit_log.entries import AuditEntry
from linkjolt.datasets import Account
from linkjolt.storage.redis import call

_FIRST_HASH = "0" * 64
_encode = msgspec.json.Encoder().encode


class ChainHead(msgspec.Struct, frozen=True):
    """The newest row of an account: its number from 1 on, and its hash."""

    seq: int = 0
    hash: str = _FIRST_HASH


EMPTY_CHAIN = ChainHead()


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the audit log; its fields are the columns, `entry`'s as in `AuditEntry`."""

    account: Account
    seq: int
    pos: int
    uid: str
    time_ms: int
    actor: str
    actor_name: str
    operation: str
    object: str
    changes: str
    status: int
    request_id: str
    address: str
    key_hint: str
    count: int
    previous: str
    hash: str

    def computed_hash(self) -> str:
        """Hashes all that the row says, and the hash of the row before: a JSON array in UTF-8."""
        return sha256(_encode(msgspec.structs.astuple(self)[:-1])).hexdigest()


COLUMNS = AuditRow.__struct_fields__


def chain_row(entry: AuditEntry, time_ms: int, head: ChainHead, pos: int) -> AuditRow:
    """Makes the row of an entry that follows a head."""
    row = AuditRow(
        **msgspec.structs.asdict(entry),
        time_ms=time_ms,
        seq=head.seq + 1,
        pos=pos,
        previous=head.hash,
        hash="",
    )
    return msgspec.structs.replace(row, hash=row.computed_hash())


async def read_heads(redis: Redis) -> dict[Account, ChainHead]:
    """Reads the newest head of each account that Redis keeps."""
    fields: Mapping[bytes, bytes] = await call(redis, "HGETALL", redis_keys.AUDIT_HEADS)
    return {Account(int(account)): _parse_head(head) for account, head in fields.items()}


def head_arguments(heads: Iterable[tuple[Account, ChainHead]]) -> list[str | int]:
    """Returns accounts and heads as Redis keeps them, in turn."""
    return [part for account, head in heads for part in (int(account), f"{head.seq}:{head.hash}")]


def _parse_head(raw: bytes) -> ChainHead:
    seq, _, digest = raw.decode().partition(":")
    return ChainHead(int(seq), digest)
