"""What the registry answers: entries as the API shows them (API §3), a page, a bulk result."""

from datetime import datetime
from typing import Literal

import msgspec

from linkjolt import redis_keys
from linkjolt.money import Commission
from linkjolt.reasons import FieldError, Reason, Rejected
from linkjolt.registry.commission_rules import general_rule
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Duplicates, Link, public_id


class CampaignAnswer(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    currency: str
    commission: Commission
    click_id_param: str
    window_min_seconds: int
    window_days: int
    conversion_status: Literal["pending", "approved"]
    events: tuple[str, ...]
    duplicates: Duplicates
    attribution: Literal["last", "first"]
    created_at: datetime


class AffiliateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    created_at: datetime


class LinkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is what the affiliate publishes: the edge's address and the tracking code."""

    id: str
    url: str
    tracking_code: str
    campaign_id: str
    affiliate_id: str
    destination: str
    pass_params: Literal["all", "none"] | tuple[str, ...]
    status: Literal["active", "disabled"]
    fallback_url: str
    created_at: datetime


class KeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    scopes: tuple[str, ...]
    hint: str
    expires_at: datetime | None
    campaign_id: str | None
    test: bool
    created_at: datetime


class NewKeyAnswer(KeyAnswer, frozen=True, kw_only=True):
    """A key just made; `key` is its secret, shown this once."""

    key: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    body_max_bytes: int
    batch_max_bytes: int
    bulk_links_max: int
    page_max: int


class MeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may know about itself."""

    account: str
    key: KeyAnswer
    limits: Limits


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list; `next_cursor` is null on the last one."""

    data: list[object]
    next_cursor: str | None


class BulkCreated(msgspec.Struct, frozen=True, kw_only=True):
    status: int = 201
    link: LinkAnswer


class BulkRefused(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    code: Reason
    errors: tuple[FieldError, ...]


class BulkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One result per entry, in order."""

    data: list[BulkCreated | BulkRefused]
    accepted: int
    rejected: int


def campaign_answer(campaign: Campaign, now: datetime) -> CampaignAnswer:
    """`commission` is what it pays now to those who have no rule of their own."""
    return CampaignAnswer(
        id=public_id("campaign", campaign.number),
        name=campaign.name,
        currency=campaign.currency,
        commission=general_rule(campaign, now),
        click_id_param=campaign.click_id_param,
        window_min_seconds=campaign.window_min_seconds,
        window_days=campaign.window_days,
        conversion_status=campaign.conversion_status,
        events=campaign.events,
        duplicates=campaign.duplicates,
        attribution=campaign.attribution,
        created_at=campaign.created_at,
    )


def affiliate_answer(affiliate: Affiliate) -> AffiliateAnswer:
    identity = public_id("affiliate", affiliate.number)
    return AffiliateAnswer(id=identity, name=affiliate.name, created_at=affiliate.created_at)


def link_answer(link: Link, edge_url: str) -> LinkAnswer:
    return LinkAnswer(
        id=public_id("link", link.number),
        url=f"{edge_url}/{link.tracking_code}",
        tracking_code=link.tracking_code,
        campaign_id=public_id("campaign", link.campaign),
        affiliate_id=public_id("affiliate", link.affiliate),
        destination=link.destination,
        pass_params=link.pass_params,
        status=link.status,
        fallback_url=link.fallback_url,
        created_at=link.created_at,
    )


def key_answer(key: ApiKey) -> KeyAnswer:
    return KeyAnswer(
        id=public_id("key", key.number),
        name=key.name,
        scopes=key.scopes,
        hint=key.hint,
        expires_at=key.expires_at,
        campaign_id=public_id("campaign", key.campaign) if key.campaign else None,
        test=key.test,
        created_at=key.created_at,
    )


def new_key_answer(key: ApiKey, secret: str) -> NewKeyAnswer:
    return NewKeyAnswer(key=secret, **msgspec.structs.asdict(key_answer(key)))


def bulk_refused(error: Rejected) -> BulkRefused:
    named = FieldError(error.field or "body", error.message)
    return BulkRefused(status=error.status, code=error.reason, errors=(named,))


def account_name(account: int) -> str:
    """Accounts have no names of their own but the first."""
    return "default" if account == redis_keys.ACCOUNT_DEFAULT else f"acc_{account}"
