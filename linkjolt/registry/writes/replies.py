"""Turns the replies of the scripts that write registry entries into entries or refusals."""

from enum import Enum

from redis.exceptions import ResponseError

from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Coupon, Link, RegistryEntry, User
from linkjolt.registry.reads import ENTRY_KINDS, E


class WriteReply(bytes, Enum):
    """The replies of `write.lua` and `write_user.lua`."""

    written = b"written"
    changed = b"changed"
    taken = b"taken"
    full = b"full"
    retired = b"retired"
    last_owner = b"last_owner"


def outcome_of(entry: E, reply: object) -> E | Rejected:
    """Returns the entry that was written, or why it was not; other errors of Redis pass through."""
    if reply == WriteReply.written:
        return entry
    if reply == WriteReply.taken:
        return _taken(entry)
    if reply == WriteReply.last_owner:
        message = "the account would have no owner left: make another person an owner first"
        return Rejected(Reason.conflict, message)
    if isinstance(reply, ResponseError):
        return Rejected(Reason.unavailable, "the registry takes no writes now; try again")
    if isinstance(reply, Exception):
        raise reply
    return _exists(entry)


def _taken(entry: RegistryEntry) -> Rejected:
    match entry:
        case Link(tracking_code=code):
            reason, field, message = Reason.tracking_code_taken, "tracking_code", f"{code} is taken"
        case Coupon(code=code):
            reason, field, message = Reason.coupon_code_taken, "code", f"{code} is taken"
        case User():
            reason, field = Reason.conflict, "email"
            message = "is the address of another person"
        case _:
            return _exists(entry)
    return Rejected(reason, message, field=field)


def _exists(entry: RegistryEntry) -> Rejected:
    kind = ENTRY_KINDS[type(entry)]
    return Rejected(Reason.conflict, f"{kind} {entry.number} exists already")


def entry_or_raise(entry: E, reply: object) -> E:
    """Returns the entry that was written; Rejected where it was not."""
    outcome = outcome_of(entry, reply)
    if isinstance(outcome, Rejected):
        raise outcome
    return outcome
