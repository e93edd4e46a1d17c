"""Decides which keys a key may create, change and revoke: none above itself."""

from datetime import datetime

from linkjolt.auth.allowed_networks import FIELD as ALLOWED_NETWORKS
from linkjolt.auth.allowed_networks import are_within
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey, public_id


def check_governed(actor: ApiKey, key: ApiKey) -> None:
    """Rejected, naming the field, where `key` can do anything that `actor` cannot.

    Every live key governs test keys too: they reach nothing that is live.
    """
    if actor.test and not key.test:
        message = "must be true, for a test key governs test keys only"
        raise Rejected(Reason.forbidden, message, field="test")
    if actor.campaign and key.campaign != actor.campaign:
        bound = public_id("campaign", actor.campaign)
        message = f"must be {bound}, to which the API key is bound itself"
        raise Rejected(Reason.forbidden, message, field="campaign_id")
    if actor.affiliate and key.affiliate != actor.affiliate:
        bound = public_id("affiliate", actor.affiliate)
        message = f"must be {bound}, to which the API key is bound itself"
        raise Rejected(Reason.forbidden, message, field="affiliate_id")
    if not are_within(key.allowed_networks, actor.allowed_networks):
        message = "must lie within those of the API key of the request"
        raise Rejected(Reason.forbidden, message, field=ALLOWED_NETWORKS)
    for scope in key.scopes:
        if not actor.allows(scope):
            message = f"cannot include {scope}, which the API key lacks itself"
            raise Rejected(Reason.forbidden, message, field="scopes")


def check_expiry_granted(actor: ApiKey, expires_at: datetime | None) -> None:
    """Rejected where a key or a secret would be valid for longer than the key that grants it."""
    if actor.expires_at is None or (expires_at and expires_at <= actor.expires_at):
        return
    message = f"must not be after {actor.expires_at:%Y-%m-%dT%H:%M:%SZ}, when the API key expires"
    raise Rejected(Reason.forbidden, message, field="expires_at")


def effective_rate(key: ApiKey, default: int) -> int:
    """Returns how many requests a minute a key may send, where `default` is the setting; 0: any."""
    return default if key.rate_limit_per_minute is None else key.rate_limit_per_minute


def check_rate_granted(actor: ApiKey, key: ApiKey, default: int) -> None:
    """Rejected where a key might send more requests a minute than the key that grants it."""
    most, granted = effective_rate(actor, default), effective_rate(key, default)
    if most and not 0 < granted <= most:
        message = f"must be at most {most}, as many as the API key may send itself"
        raise Rejected(Reason.forbidden, message, field="rate_limit_per_minute")
