"""Reduces entries to rows: the little of each that lists search, filter and sort by."""

import re
from datetime import datetime
from functools import lru_cache
from operator import attrgetter

import msgspec

from linkjolt.registry.entries import (
    Affiliate,
    ApiKey,
    Campaign,
    Coupon,
    EntryKind,
    Link,
    OAuthClient,
    Rate,
    RegistryEntry,
    Webhook,
)

_HOST = re.compile(r"[a-z]+://(?:[^/?#]*@)?([^/?#]*)", re.IGNORECASE)


class ListRow(msgspec.Struct, frozen=True, gc=False):
    """An entry in a list; some 230 bytes of memory.

    `text` has a line for each text that is searched, the one that names the entry first, all in one
    letter case. `created_at` is in seconds since 1970.
    """

    number: int
    text: str
    status: str
    created_at: float
    campaigns: tuple[int, ...]
    affiliates: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.text.partition("\n")[0]


# What orders the rows of an owner's kind, and continues a list.
row_number = attrgetter("number")


class ListFields(msgspec.Struct, frozen=True):
    """What the list of a kind can be sorted by (`name`) and filtered by, beside what all can be."""

    name: str = ""
    searched: str = "its name"
    statuses: tuple[str, ...] = ()
    references: tuple[EntryKind, ...] = ()


_EARNING = ("active", "suspended")
_SWITCHED = ("active", "disabled")
_BOTH: tuple[EntryKind, ...] = ("campaign", "affiliate")
_FIELDS: dict[EntryKind, ListFields] = {
    "campaign": ListFields("name", "its name", _EARNING),
    "affiliate": ListFields("name", "its name and e-mail address", _EARNING),
    "link": ListFields(
        "tracking_code", "its tracking code and its destination's host", _SWITCHED, _BOTH
    ),
    "key": ListFields("name", "its name and hint", (), _BOTH),
    "client": ListFields("name", "its name and hint"),
    "coupon": ListFields("code", "its code", (), _BOTH),
    "webhook": ListFields("url", "its URL", _SWITCHED, _BOTH),
    "rate": ListFields("", "its currencies"),
}


def list_fields(kind: EntryKind) -> ListFields:
    """Returns what the list of a kind can be sorted and filtered by."""
    return _FIELDS.get(kind, ListFields())


def row_of(entry: RegistryEntry) -> ListRow:
    """Reduces an entry to its row."""
    status = ""
    campaigns: tuple[int, ...] = ()
    affiliates: tuple[int, ...] = ()
    match entry:
        case Link():
            texts = entry.tracking_code, _host_of(entry.destination)
            status = entry.status
            campaigns, affiliates = _one(entry.campaign), _one(entry.affiliate)
        case Coupon():
            texts = (entry.code,)
            campaigns, affiliates = _one(entry.campaign), _one(entry.affiliate)
        case Webhook():
            texts, status = (entry.url,), entry.status
            campaigns, affiliates = entry.campaigns, entry.affiliates
        case ApiKey():
            texts = entry.name, entry.hint
            campaigns, affiliates = _one(entry.campaign), _one(entry.affiliate)
        case OAuthClient():
            texts = entry.name, entry.hint
        case Campaign():
            texts, status = (entry.name,), _earning(entry.suspended_at)
        case Affiliate():
            texts, status = (entry.name, entry.email), _earning(entry.suspended_at)
        case Rate():
            texts = entry.from_, entry.to
        case _:
            texts = (str(getattr(entry, "name", "")),)
    text = "\n".join(texts).casefold()
    created_at = entry.created_at.timestamp()
    return ListRow(entry.number, text, status, created_at, campaigns, affiliates)


def _earning(suspended_at: datetime | None) -> str:
    return "suspended" if suspended_at else "active"


@lru_cache(maxsize=10_000)
def _one(number: int) -> tuple[int, ...]:
    """Returns the same tuple for the many rows of one campaign or affiliate."""
    return (number,) if number else ()


def _host_of(url: str) -> str:
    found = _HOST.match(url)
    return found[1] if found else ""
