"""Selects the fields of registry entries whose values the audit log may show."""

from collections.abc import Iterator, Mapping
from typing import cast
from urllib.parse import urlsplit

from linkjolt.audit_log.entries import HIDDEN, FieldChange
from linkjolt.registry.entries import (
    AccountEntry,
    Affiliate,
    ApiKey,
    Campaign,
    Coupon,
    EntryKind,
    Link,
    OAuthClient,
    Rate,
    RegistryEntry,
    User,
    Webhook,
    public_id,
)

# They never change, follow from other changes, or the log says them elsewhere.
_IDENTITY = frozenset(("number", "account", "created_at", "revision", "epoch", "totp_step"))
# All else is hidden, and so is what later releases add until it is named here.
_SHOWN: Mapping[type, frozenset[str]] = {
    kind: frozenset((*names.split(), "deleted_at"))
    for kind, names in (
        (
            Campaign,
            "name currency commission click_id_param window_min_seconds window_days"
            " conversion_status events duplicates attribution rules pixel pixel_max_value lifetime"
            " suspended_at",
        ),
        (Affiliate, "name suspended_at"),
        (Link, "campaign affiliate tracking_code destination pass_params status fallback_url"),
        (Coupon, "code campaign affiliate"),
        (Rate, "from_ to rate valid_from"),
        (Webhook, "url events campaigns affiliates min_value status disabled_reason"),
        (
            ApiKey,
            "name scopes expires_at campaign affiliate test rate_limit_per_minute scopes_version",
        ),
        (AccountEntry, "name disabled_at"),
        (OAuthClient, "name scopes expires_at test revoked_until_ms"),
        (User, "role status joined_at signed_in_at"),
    )
}
_REFERENCES: Mapping[str, EntryKind] = {
    "campaign": "campaign",
    "affiliate": "affiliate",
    "campaigns": "campaign",
    "affiliates": "affiliate",
}
_NOTHING = (None, "", 0, False, ())


def changes_of(before: RegistryEntry | None, after: RegistryEntry) -> Iterator[FieldChange]:
    """Yields the fields that a write changed; of a new entry those that say something."""
    shown = _SHOWN.get(type(after), frozenset())
    for name in after.__struct_fields__:
        value, former = getattr(after, name), None if before is None else getattr(before, name)
        if name in _IDENTITY or value == former or (before is None and value in _NOTHING):
            continue
        if name in shown:
            yield _api_name(name), _shown(name, former), _shown(name, value)
        elif before is not None:
            yield name, HIDDEN, HIDDEN


def _api_name(name: str) -> str:
    kind = _REFERENCES.get(name)
    return f"{kind}_id" if kind else name.rstrip("_")


def _shown(name: str, value: object) -> object:
    kind = _REFERENCES.get(name)
    if kind and isinstance(value, tuple):
        return [public_id(kind, number) for number in cast("tuple[int, ...]", value)]
    if kind and isinstance(value, int):
        return public_id(kind, value) if value else None
    if name == "rules" and isinstance(value, tuple):
        # Versions are only added, up to 1,000 of them.
        return cast("tuple[object, ...]", value)[-1] if value else None
    if name == "url" and isinstance(value, str):
        # The path of a receiver's address is often its password.
        parts = urlsplit(value)
        return f"{parts.scheme}://{parts.hostname}/{HIDDEN}"
    return value
