"""Declares the registry's entries as stored in Redis: campaigns, affiliates, links, keys, ..."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from linkjolt.datasets import INSTALLATION, Account, Dataset, dataset_of_tests, live_dataset
from linkjolt.money import Commission
from linkjolt.registry.people.entry import User
from linkjolt.registry.whole_numbers import parse_whole_number

EntryKind = Literal[
    "account", "campaign", "affiliate", "link", "key", "coupon", "webhook", "rate", "client", "user"
]
ID_PREFIXES: dict[EntryKind, str] = {
    "account": "acc",
    "campaign": "cmp",
    "affiliate": "aff",
    "link": "lnk",
    "key": "key",
    "coupon": "cpn",
    "webhook": "whk",
    "rate": "rate",
    "client": "client",
    "user": "usr",
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
    "rates:write",
    "privacy:write",
    "payouts:write",
    "audit:read",
    "account:write",
)
# What a key bound to an affiliate may have: each of their routes narrows to it, or refuses it.
AFFILIATE_SCOPES = ("links:read", "reports:read", "events:read")
# Since version 1 `conversions:write` does not include `payouts:write`.
SCOPES_VERSION = 1


class AccountEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant, who owns all entries but accounts; `account` is that of the installation.

    From `disabled_at` on its keys are refused. The first account needs no entry.
    """

    number: int
    account: Account = INSTALLATION
    name: str
    created_at: datetime
    disabled_at: datetime | None = None
    deleted_at: datetime | None = None


class RuleVersion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A later version of a campaign's commission, from `starts_at` on.

    `affiliate` 0 is for all without a rule of their own; `commission` None ends an affiliate's.
    """

    version: int
    starts_at: datetime
    commission: Commission | None
    affiliate: int = 0


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """Terms under which affiliates earn; `deleted_at` marks the soft deletion of every kind.

    `commission` is version 1 of the commission, for all and from the beginning; `rules` are the
    later versions in order. `attribution` selects among several clicks of one customer,
    `duplicates` decides about another post of an order. `pixel_max_value` bounds an unverified
    conversion, in major units of `currency`. `lifetime`: a customer's first affiliate earns later
    orders. Nothing is earned from `suspended_at` on.
    """

    number: int
    account: Account
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
    rules: tuple[RuleVersion, ...] = ()
    created_at: datetime
    deleted_at: datetime | None = None
    pixel: Literal["off", "on"] = "off"
    pixel_max_value: Decimal | None = None
    lifetime: bool = False
    suspended_at: datetime | None = None


class Affiliate(msgspec.Struct, frozen=True, kw_only=True):
    """A partner who sends traffic; nothing is earned from `suspended_at` on.

    `email` is in lower case.
    """

    number: int
    account: Account
    name: str
    created_at: datetime
    deleted_at: datetime | None = None
    suspended_at: datetime | None = None
    email: str = ""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A tracking link; `pass_params` is `all`, `none` or the names that are passed on."""

    number: int
    account: Account
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
    account: Account
    code: str
    campaign: int
    affiliate: int
    created_at: datetime
    deleted_at: datetime | None = None


class Rate(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """An exchange rate: from `valid_from` on, 1 of the currency `from_` is worth `rate` of `to`."""

    number: int
    account: Account
    from_: str
    to: str
    rate: Decimal
    valid_from: datetime
    created_at: datetime
    deleted_at: datetime | None = None


class WebhookSecret(msgspec.Struct, frozen=True):
    """A signing secret, `whsec_` and base64; a rotated one signs until `expires_at`."""

    secret: str
    expires_at: datetime | None = None


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint to which events are delivered.

    `account` is that of the events (`datasets.is_test`). Empty `campaigns` and `affiliates` let
    all pass; `min_value` is in major units of any currency. The first of `secrets` is the newest.
    """

    number: int
    account: Dataset
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


class FormerSecret(msgspec.Struct, frozen=True):
    """A secret of a key that was rotated; it is valid until `expires_at`."""

    digest: str
    hint: str
    expires_at: datetime


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key; only the SHA-256 of the secret is stored, and a hint to show.

    `campaign` other than 0 binds it to one campaign, `affiliate` to reading what is of one
    affiliate; posts with a `test` key are no real events. `signing_secret` signs postbacks, ''
    where none was made. It may send `rate_limit_per_minute` requests; None is what the
    installation's settings say. Empty `allowed_networks` let all addresses use it. A stored key
    without `scopes_version` is of a former release (`reads.decode_entry`).
    One with a `user` is no key but the session of a person, number 0; it is stored nowhere.
    """

    number: int
    account: Account
    name: str
    scopes: tuple[str, ...]
    digest: str
    hint: str
    expires_at: datetime | None = None
    campaign: int = 0
    test: bool = False
    created_at: datetime
    deleted_at: datetime | None = None
    signing_secret: str = ""
    rate_limit_per_minute: int | None = None
    affiliate: int = 0
    allowed_networks: tuple[str, ...] = ()
    former_secrets: tuple[FormerSecret, ...] = ()
    scopes_version: int = SCOPES_VERSION
    user: int = 0

    @property
    def holder(self) -> int:
        """Returns a number that no other key and no other person has."""
        return -self.user or self.number

    @property
    def id(self) -> str:
        """Returns the public id by which rows and answers say who sent a request."""
        return public_id("user", self.user) if self.user else public_id("key", self.number)

    @property
    def dataset(self) -> Dataset:
        """Returns the dataset in which its events are stored and read."""
        return dataset_of_tests(self.account) if self.test else live_dataset(self.account)

    def allows(self, scope: str) -> bool:
        if self.affiliate and scope not in AFFILIATE_SCOPES:
            return False
        return "admin" in self.scopes or scope in self.scopes

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def digests(self, now: datetime) -> list[str]:
        """Returns the digests of all secrets that are valid."""
        former = (one.digest for one in self.former_secrets if one.expires_at > now)
        return [self.digest, *former]

    def found_by(self, digest: str) -> "ApiKey | None":
        """Returns the key as one of its secrets may use it, expired ones too; None for another's.

        By a former secret it is a key that expires with this.
        """
        if digest == self.digest:
            return self
        former = next((one for one in self.former_secrets if one.digest == digest), None)
        if former is None:
            return None
        expires_at = min(former.expires_at, self.expires_at or former.expires_at)
        return msgspec.structs.replace(self, digest=digest, expires_at=expires_at)


class RevokedToken(msgspec.Struct, frozen=True, array_like=True):
    """An access token that was revoked; it would have been valid until `expires_at` (seconds)."""

    id: str
    issued_ms: int
    expires_at: int


class OAuthClient(msgspec.Struct, frozen=True, kw_only=True):
    """An OAuth client, numbered among the keys; only the SHA-256 of its secret is stored.

    Its tokens that were issued until `revoked_until_ms` are revoked, and those in `revoked`. Every
    write raises `revision`, so that a reader knows the newest of two copies.
    """

    number: int
    account: Account
    name: str
    scopes: tuple[str, ...]
    digest: str
    hint: str
    expires_at: datetime | None = None
    test: bool = False
    created_at: datetime
    deleted_at: datetime | None = None
    revoked: tuple[RevokedToken, ...] = ()
    revoked_until_ms: int = 0
    revision: int = 0

    def is_valid(self, now: datetime) -> bool:
        is_expired = self.expires_at is not None and self.expires_at <= now
        return self.deleted_at is None and not is_expired


RegistryEntry = (
    AccountEntry
    | Campaign
    | Affiliate
    | Link
    | ApiKey
    | Coupon
    | Webhook
    | Rate
    | OAuthClient
    | User
)
ENTRY_TYPES: dict[EntryKind, type[RegistryEntry]] = {
    "account": AccountEntry,
    "campaign": Campaign,
    "affiliate": Affiliate,
    "link": Link,
    "key": ApiKey,
    "coupon": Coupon,
    "webhook": Webhook,
    "rate": Rate,
    "client": OAuthClient,
    "user": User,
}


class RegistryChange(msgspec.Struct, frozen=True):
    """One entry of the change feed: the registry entry that was written."""

    kind: EntryKind
    number: int


def sequence_of(kind: EntryKind) -> EntryKind:
    """Returns the kind by whose sequence a kind is numbered.

    Clients share that of keys: a conversion's row has one number for who posted it.
    """
    return "key" if kind == "client" else kind


def public_id(kind: EntryKind, number: int) -> str:
    """Formats `cmp_7` for campaign 7."""
    return f"{ID_PREFIXES[kind]}_{number}"


def parse_public_id(kind: EntryKind, text: str) -> int | None:
    """Returns the number of a public id of this kind; None for any other text."""
    prefix, _, digits = text.partition("_")
    if prefix != ID_PREFIXES[kind] or digits.startswith("0"):
        return None
    return parse_whole_number(digits)
