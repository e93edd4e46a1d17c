"""Every Redis key and stream name. `{s}` is a shard: one script touches one slot."""

from hashlib import blake2s
from typing import Literal

import msgspec

ACCOUNT_DEFAULT = 1
# Test events of an account are kept as those of another one, which has this bit: no report or
# webhook of the account can have them by mistake.
_TEST = 1 << 31
_REGISTRY = "lj:{r}"

REGISTRY_CHANGES = f"{_REGISTRY}:changes"
REGISTRY_NUMBERS = f"{_REGISTRY}:numbers"
SECRETS = f"{_REGISTRY}:secrets"
PROGRESS = "lj:progress"
WORKER_NEXT = "lj:worker:next"
EDGES = "lj:edges"
SHED = "lj:shed"


def books_of_tests(account: int) -> int:
    """Under what account its test events are kept."""
    return account | _TEST


def is_test(books: int) -> bool:
    return books >= _TEST


def owner(books: int) -> int:
    """The account whose events, real or test ones, are kept under `books`."""
    return books & ~_TEST


StreamKind = Literal["clicks", "conversions"]


class Stream(msgspec.Struct, frozen=True):
    """One event stream: `number` is what raw rows carry in `s`."""

    kind: StreamKind
    shard: int

    @property
    def number(self) -> int:
        return self.shard * 2 + (self.kind == "conversions")

    @property
    def key(self) -> str:
        return f"lj:{{{self.shard}}}:{self.kind}"

    @property
    def ledger(self) -> str:
        """Hash of hour (milliseconds // 3,600,000 of the entry id) to events accepted in it."""
        return f"lj:{{{self.shard}}}:ledger:{self.kind}"

    @property
    def lease(self) -> str:
        """Which aggregator stores the stream, for as long as it renews this."""
        return f"lj:{{{self.shard}}}:lease:{self.kind}"

    def producer(self, producer_id: str) -> str:
        """The number of the last frame that this producer published on this stream."""
        return f"lj:{{{self.shard}}}:producer:{producer_id}:{self.kind}"


def clicks(shard: int) -> Stream:
    return Stream("clicks", shard)


def conversions(shard: int) -> Stream:
    return Stream("conversions", shard)


def stream(number: int) -> Stream:
    """The stream of a number, as raw rows carry it."""
    return (conversions if number % 2 else clicks)(number // 2)


def streams(shards: int) -> list[Stream]:
    return [kind(shard) for shard in range(shards) for kind in (clicks, conversions)]


def order_digest(account: int, event: str, order_id: str) -> str:
    """Names an order in its keys; the parts are length-prefixed so that none run together."""
    of = str(account)
    text = f"{len(of)}:{of}{len(event)}:{event}{len(order_id)}:{order_id}"
    return blake2s(text.encode(), digest_size=16).hexdigest()


def order(shard: int, digest: str) -> str:
    """The reservation of an order: `conversion_id\\nfingerprint\\nstate JSON`."""
    return f"lj:{{{shard}}}:order:{digest}"


def conversion(shard: int, conversion_id: str) -> str:
    """Points from a conversion id to the digest under which its reservation stands."""
    return f"lj:{{{shard}}}:conversion:{conversion_id}"


def customer(shard: int, digest: str) -> str:
    """The order by which a customer of a campaign first bought."""
    return f"lj:{{{shard}}}:customer:{digest}"


def idempotency(shard: int, digest: str) -> str:
    """What was first posted under an Idempotency-Key: its fingerprint and conversion id."""
    return f"lj:{{{shard}}}:idempotency:{digest}"


def webhook_due(webhook: int) -> str:
    """Sorted set of an endpoint's deliveries that are to be sent, by when."""
    return f"lj:{{w:{webhook}}}:due"


def webhook_log(webhook: int) -> str:
    """Sorted set of all deliveries of an endpoint that are kept, by when their events came."""
    return f"lj:{{w:{webhook}}}:log"


def webhook_delivery(webhook: int, webhook_id: str) -> str:
    """JSON of one delivery: what is sent, and what came of each try."""
    return f"lj:{{w:{webhook}}}:delivery:{webhook_id}"


def worker(number: int) -> str:
    """Lease of an edge worker number (12 bits of the click id)."""
    return f"lj:worker:{number}"


def visitor_salt(day: str) -> str:
    """Salt of the visitor hash for a UTC day, `YYYY-MM-DD`."""
    return f"lj:salt:{day}"


def registry_entry(kind: str, number: int) -> str:
    """JSON of one campaign, affiliate, link or key."""
    return f"{_REGISTRY}:{kind}:{number}"


def registry_index(kind: str, account: int) -> str:
    """Sorted set of the numbers of one kind in one account."""
    return f"{_REGISTRY}:index:{kind}:{account}"


def tracking_code(code: str) -> str:
    """Points from a tracking code to its link's number."""
    return f"{_REGISTRY}:code:{code}"


def coupon_code(account: int, code: str) -> str:
    """Points from a coupon code, in upper case, to its coupon's number."""
    return f"{_REGISTRY}:coupon:{account}:{code}"


def key_digest(digest: str) -> str:
    """Points from the SHA-256 of an API key to its number."""
    return f"{_REGISTRY}:secret:{digest}"
