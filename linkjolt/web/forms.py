"""Reads the bodies of creations and patches: references by public id, fields that never change."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import EntryKind, parse_public_id

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Email = Annotated[str, Meta(max_length=320)]
Instant = Annotated[datetime, Meta(tz=True)]
# Whether a campaign or an affiliate earns.
EarningStatus = Literal["active", "suspended"]

# Fields of a creation that a PATCH refuses as settled, not as unknown.
IMMUTABLE: dict[EntryKind, frozenset[str]] = {
    "campaign": frozenset({"id", "currency", "created_at"}),
    "affiliate": frozenset({"id", "created_at"}),
    "link": frozenset(
        {"id", "tracking_code", "campaign_id", "affiliate_id", "url", "created_at"},
    ),
    "key": frozenset({"id", "scopes", "hint", "key", "campaign_id", "test", "created_at"})
    | {"affiliate_id", "old_secrets", "last_used_at"},
    "coupon": frozenset({"id", "code", "created_at"}),
    "webhook": frozenset({"id", "secret", "status", "created_at"}),
    "rate": frozenset(),
    "client": frozenset(
        {"id", "client_id", "client_secret", "scopes", "hint", "expires_at", "test", "created_at"}
    ),
    "user": frozenset({"id", "email", "two_factor", "created_at", "joined_at"}),
}


def given(patch: msgspec.Struct) -> dict[str, Any]:
    """The fields that a patch sets."""
    values = {field: getattr(patch, field) for field in patch.__struct_fields__}
    return {field: value for field, value in values.items() if value is not UNSET}


def unknown_reference(kind: EntryKind) -> Rejected:
    """The refusal of an id that leads nowhere."""
    message = f"names no {kind} of this account"
    return Rejected(Reason.unknown_reference, message, field=f"{kind}_id")


def reference(kind: EntryKind, text: str) -> int:
    """The number of a public id; Rejected, naming the field, for any other text."""
    number = parse_public_id(kind, text)
    if number is None:
        raise unknown_reference(kind)
    return number


def earning_status(suspended_at: datetime | None) -> EarningStatus:
    """Returns the status of an entry that is suspended from `suspended_at` on, if it is."""
    return "active" if suspended_at is None else "suspended"


def suspension(
    status: EarningStatus | UnsetType, suspended_at: datetime | None, now: datetime
) -> datetime | None:
    """Returns since when an entry is suspended, after a patch of its status."""
    if status is UNSET:
        return suspended_at
    return None if status == "active" else suspended_at or now


def in_utc(instant: datetime, field: str) -> datetime:
    """The instant in UTC; Rejected, naming the field, where UTC's calendar ends before it."""
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise Rejected(Reason.invalid_field, "is too far off", field=field) from None
