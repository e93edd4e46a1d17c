"""Provides entries for the registry's tests."""

from datetime import UTC, datetime
from decimal import Decimal

from linkjolt.datasets import ACCOUNT_DEFAULT, Account, Dataset
from linkjolt.money import Percentage
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import (
    Affiliate,
    ApiKey,
    Campaign,
    Link,
    OAuthClient,
    User,
    Webhook,
    WebhookSecret,
)
from linkjolt.registry.people.entry import Role
from linkjolt.registry.store import Registry

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DESTINATION = "https://shop.example/p?ref={affiliate_id}"


def campaign(name: str = "Spring", account: Account = ACCOUNT_DEFAULT) -> Campaign:
    return Campaign(
        number=0,
        account=account,
        name=name,
        currency="USD",
        commission=Percentage(Decimal(30)),
        created_at=NOW,
    )


def affiliate(name: str = "Ann", account: Account = ACCOUNT_DEFAULT) -> Affiliate:
    return Affiliate(number=0, account=account, name=name, created_at=NOW)


def link(code: str = "", campaign: int = 1, affiliate: int = 1) -> Link:
    return Link(
        number=0,
        account=ACCOUNT_DEFAULT,
        campaign=campaign,
        affiliate=affiliate,
        tracking_code=code,
        destination=DESTINATION,
        created_at=NOW,
    )


def key(secret: str, *scopes: str, expires_at: datetime | None = None) -> ApiKey:
    return ApiKey(
        number=0,
        account=ACCOUNT_DEFAULT,
        name="test",
        scopes=scopes,
        digest=api_key_secrets.digest(secret),
        hint=api_key_secrets.hint(secret),
        expires_at=expires_at,
        created_at=NOW,
    )


def client(secret: str, *scopes: str, test: bool = False) -> OAuthClient:
    return OAuthClient(
        number=0,
        account=ACCOUNT_DEFAULT,
        name="Warehouse",
        scopes=scopes,
        digest=api_key_secrets.digest(secret),
        hint=api_key_secrets.client_hint(secret),
        test=test,
        created_at=NOW,
    )


def webhook(dataset: Dataset) -> Webhook:
    return Webhook(
        number=0,
        account=dataset,
        url="https://shop.example/hook",
        events=("conversion.created",),
        secrets=(WebhookSecret("whsec_x"),),
        created_at=NOW,
    )


def user(email: str, role: Role = "owner", account: Account = ACCOUNT_DEFAULT) -> User:
    name = email.partition("@")[0]
    return User(number=0, account=account, email=email, name=name, role=role, created_at=NOW)


async def stored_link(registry: Registry, code: str = "tc_ABC123") -> Link:
    """A link with its own campaign and affiliate."""
    its_campaign = await registry.create(campaign())
    its_affiliate = await registry.create(affiliate())
    return await registry.create(link(code, its_campaign.number, its_affiliate.number))
