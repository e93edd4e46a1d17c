"""What the registry holds: campaigns, affiliates, links, keys, coupons, webhooks, as in Redis."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from linkjolt import redis_keys
from linkjolt.money import Commission

Kind = Literal["campaign", "affiliate", "link", "key", "coupon", "webhook"]
PREFIXES: dict[Kind, str] = {
    "campaign": "cmp",
    "affiliate": "aff",
    "link": "lnk",
    "key": "key",
    "coupon": "cpn",
    "webhook": "whk",
}

Duplicates = Literal["refuse", "allow", "rebill", "update"]
SCOPES = (
    "admin",
    "postback",
    "conversions:write",
    "links:read",
    "links:write",
    "reports:read",
    "webhooks:write",
    "keys:write",
    "events:read",
)


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A later version of what a campaign pays, from `starts_at` on.

    `affiliate` 0 is for all who have no rule of their own; `commission` None ends an affiliate's.
    """

    version: int
    starts_at: datetime
    commission: Commission | None
    affiliate: int = 0


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """Terms under which affiliates earn; `deleted_at` marks the soft deletion of every kind.

    `commission` is version 1 of what it pays, for all and from the beginning; `rules` are the
    others, by rising version. `attribution` chooses among several clicks of one customer,
    `duplicates` says what becomes of another post of an order.
    """

    number: int
    account: int
    name: str
    currency: str
    commission: Commission
    click_id_param: str = "click_id"
    window_min_seconds: int = 0
    window_days: int = 30
    conversion_status: Literal["pending", "approved"] = "pending"
    events: tuple[str, ...] = ()
    duplicates: Duplicates = "refuse"
    attribution: Literal["last", "first"] = "last"
    rules: tuple[Rule, ...] = ()
    created_at: datetime
    deleted_at: datetime | None = None


class Affiliate(msgspec.Struct, frozen=True, kw_only=True):
    """A partner who sends traffic."""

    number: int
    account: int
    name: str
    created_at: datetime
    deleted_at: datetime | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A tracking link; `pass_params` is `all`, `none` or the names that are passed on."""

    number: int
    account: int
    campaign: int
    affiliate: int
    tracking_code: str
    destination: str
    pass_params: Literal["all", "none"] | tuple[str, ...] = "all"
    status: Literal["active", "disabled"] = "active"
    fallback_url: str = ""
    created_at: datetime
    deleted_at: datetime | None = None


class Coupon(msgspec.Struct, frozen=True, kw_only=True):
    """A coupon code, in upper case, whose use in an order earns its affiliate a commission."""

    number: int
    account: int
    code: str
    campaign: int
    affiliate: int
    created_at: datetime
    deleted_at: datetime | None = None


class WebhookSecret(msgspec.Struct, frozen=True):
    """A signing secret, `whsec_` and base64; one that was rotated out signs until `expires_at`."""

    secret: str
    expires_at: datetime | None = None


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where events are delivered. `account` is that of the events (`redis_keys.is_test`).

    Empty `campaigns` and `affiliates` let all pass; `min_value` is in major units of whatever
    currency. The first of `secrets` is the newest.
    """

    number: int
    account: int
    url: str
    events: tuple[str, ...]
    campaigns: tuple[int, ...] = ()
    affiliates: tuple[int, ...] = ()
    min_value: Decimal | None = None
    secrets: tuple[WebhookSecret, ...]
    status: Literal["active", "disabled"] = "active"
    disabled_reason: str = ""
    created_at: datetime
    deleted_at: datetime | None = None


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key; only the SHA-256 of the secret is kept, and its first characters to show.

    `campaign` other than 0 binds it to one campaign; what a `test` key posts is no real event.
    """

    number: int
    account: int
    name: str
    scopes: tuple[str, ...]
    digest: str
    hint: str
    expires_at: datetime | None = None
    campaign: int = 0
    test: bool = False
    created_at: datetime
    deleted_at: datetime | None = None

    @property
    def books(self) -> int:
        """The account under which its events are kept and read."""
        return redis_keys.books_of_tests(self.account) if self.test else self.account

    def allows(self, scope: str) -> bool:
        return "admin" in self.scopes or scope in self.scopes

    def expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


Entry = Campaign | Affiliate | Link | ApiKey | Coupon | Webhook
TYPES: dict[Kind, type[Entry]] = {
    "campaign": Campaign,
    "affiliate": Affiliate,
    "link": Link,
    "key": ApiKey,
    "coupon": Coupon,
    "webhook": Webhook,
}


class Change(msgspec.Struct, frozen=True):
    """One entry of the change feed: which registry entry was written."""

    kind: Kind
    number: int


def public_id(kind: Kind, number: int) -> str:
    """`cmp_7` for campaign 7."""
    return f"{PREFIXES[kind]}_{number}"


def read_id(kind: Kind, text: str) -> int | None:
    """The number in a public id of this kind; None for any other text."""
    prefix, _, digits = text.partition("_")
    if prefix != PREFIXES[kind] or not digits.isascii() or not digits.isdigit():
        return None
    return int(digits) if digits[0] != "0" and len(digits) <= 10 else None
