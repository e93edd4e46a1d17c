"""Seals and opens the secrets in registry entries: webhooks' and API keys' signing secrets.

In memory an entry holds its secrets as they are stored, sealed; only who signs by one opens it.
"""

import msgspec

from linkjolt import redis_keys
from linkjolt.registry.entries import ApiKey, EntryKind, RegistryEntry, Webhook, WebhookSecret
from linkjolt.registry.people.entry import User
from linkjolt.storage.sealing import Place, Sealer, is_sealed

# The kinds of entries with secrets in them.
SECRET_KINDS: tuple[EntryKind, ...] = ("key", "webhook", "user")


def seal_entry(entry: RegistryEntry, sealer: Sealer | None) -> RegistryEntry:
    """Returns the entry with each plain secret sealed by the key that seals now.

    KeyFileError where no key does. An entry with secrets cannot be written without a sealer.
    """
    match entry:
        case Webhook():
            place = _place("webhook", entry.number, "secret")
            secrets = tuple(
                WebhookSecret(_sealed(one.secret, place, sealer), one.expires_at)
                for one in entry.secrets
            )
            return msgspec.structs.replace(entry, secrets=secrets)
        case ApiKey(signing_secret=secret) if secret:
            place = _place("key", entry.number, "signing_secret")
            return msgspec.structs.replace(entry, signing_secret=_sealed(secret, place, sealer))
        case User(totp=totp, totp_pending=pending) if totp or pending:
            # Of both the same, for a pending secret is confirmed as it is.
            place = _place("user", entry.number, "totp")
            return msgspec.structs.replace(
                entry,
                totp=totp and _sealed(totp, place, sealer),
                totp_pending=pending and _sealed(pending, place, sealer),
            )
        case _:
            return entry


def has_plain_secret(entry: RegistryEntry) -> bool:
    """Returns whether a secret is stored as a release before sealing did."""
    match entry:
        case Webhook():
            return not all(is_sealed(one.secret) for one in entry.secrets)
        case ApiKey():
            return entry.signing_secret != "" and not is_sealed(entry.signing_secret)
        case User(totp=totp, totp_pending=pending):
            return any(secret and not is_sealed(secret) for secret in (totp, pending))
        case _:
            return False


def open_webhook(webhook: Webhook, sealer: Sealer) -> Webhook:
    """Returns the webhook with its secrets, to sign by; SealError where one does not open."""
    place = _place("webhook", webhook.number, "secret")
    secrets = tuple(
        WebhookSecret(_opened(one.secret, place, sealer), one.expires_at) for one in webhook.secrets
    )
    return msgspec.structs.replace(webhook, secrets=secrets)


def open_key(key: ApiKey, sealer: Sealer) -> ApiKey:
    """Returns the key with its signing secret; SealError where that does not open."""
    place = _place("key", key.number, "signing_secret")
    return msgspec.structs.replace(key, signing_secret=_opened(key.signing_secret, place, sealer))


def open_totp(user: User, stored: str, sealer: Sealer) -> str:
    """Returns a person's secret of codes, as stored; SealError where it does not open."""
    return _opened(stored, _place("user", user.number, "totp"), sealer)


def _sealed(secret: str, place: Place, sealer: Sealer | None) -> str:
    if is_sealed(secret):
        return secret
    if sealer is None:
        raise RuntimeError(f"no sealer for the {place.name} of {place.key}")
    return sealer.seal(place, secret.encode())


def _opened(secret: str, place: Place, sealer: Sealer) -> str:
    return sealer.open(place, secret).decode() if is_sealed(secret) else secret


def _place(kind: EntryKind, number: int, name: str) -> Place:
    return Place(redis_keys.registry_entry(kind, number), name)
