"""Makes every Redis key and stream name. `{s}` is a shard: one script touches one slot."""

from hashlib import blake2s
from typing import Literal

import msgspec

from linkjolt.datasets import Account, Dataset

_REGISTRY = "lj:{r}"

REGISTRY_CHANGES = f"{_REGISTRY}:changes"
REGISTRY_NUMBERS = f"{_REGISTRY}:numbers"
SECRETS = f"{_REGISTRY}:secrets"
KEY_USES = f"{_REGISTRY}:key-uses"
# Of the keys under which secrets are stored.
REGISTRY_PATTERN = f"{_REGISTRY}:*"
PROGRESS = "lj:progress"
WORKER_NEXT = "lj:worker:next"
EDGES = "lj:edges"
SHED = "lj:shed"
RATE_PROCESSES = "lj:rate:processes"
# The audit log: streams of what the warehouse lacks, and the newest hash of each account's chain.
AUDIT_REGISTRY = f"{_REGISTRY}:audit"
AUDIT_REFUSED = f"{_REGISTRY}:audit-refused"
AUDIT_HEADS = f"{_REGISTRY}:audit-heads"
AUDIT_LEASE = "lj:audit-lease"


StreamKind = Literal["clicks", "conversions"]


class Stream(msgspec.Struct, frozen=True):
    """One event stream; `number` is the value of `s` in raw rows."""

    kind: StreamKind
    shard: int

    @property
    def number(self) -> int:
        return self.shard * 2 + (self.kind == "conversions")

    @property
    def key(self) -> str:
        return f"lj:{{{self.shard}}}:{self.kind}"

    @property
    def ledger_key(self) -> str:
        """Names the hash of hour (milliseconds // 3,600,000 of the entry id) to accepted events."""
        return f"lj:{{{self.shard}}}:ledger:{self.kind}"

    @property
    def lease_key(self) -> str:
        """Names the lease of the aggregator that stores the stream."""
        return f"lj:{{{self.shard}}}:lease:{self.kind}"

    def producer_key(self, producer_id: str) -> str:
        """Names the number of the last frame that this producer published on this stream."""
        return f"lj:{{{self.shard}}}:producer:{producer_id}:{self.kind}"


def clicks(shard: int) -> Stream:
    return Stream("clicks", shard)


def conversions(shard: int) -> Stream:
    return Stream("conversions", shard)


def stream(number: int) -> Stream:
    """Returns the stream with this number."""
    return (conversions if number % 2 else clicks)(number // 2)


def streams(shards: int) -> list[Stream]:
    return [kind(shard) for shard in range(shards) for kind in (clicks, conversions)]


def order_digest(
    dataset: Dataset, event: str, order_id: str, *, campaign: int = 0, click_id: str = ""
) -> str:
    """Hashes an order for its keys; the parts are length-prefixed so that none run together.

    With a campaign or a click: the order of that campaign or click, apart from the account's.
    """
    number = str(dataset)
    text = f"{len(number)}:{number}{len(event)}:{event}{len(order_id)}:{order_id}"
    if campaign or click_id:
        text += f"campaign:{campaign}" if campaign else f"click:{click_id}"
    return blake2s(text.encode(), digest_size=16).hexdigest()


def pixel_digest(dataset: Dataset, event: str, click_id: str) -> str:
    """Hashes the click and event of an unverified conversion, of which there is one at most."""
    text = f"{dataset}:{event}:{click_id}"
    return blake2s(text.encode(), digest_size=16, person=b"pixel").hexdigest()


def pixel_claim(shard: int, digest: str) -> str:
    """Names the one conversion of a click and event in a campaign that takes unverified ones."""
    return f"lj:{{{shard}}}:pixel:{digest}"


def claimed_order(shard: int, digest: str) -> str:
    """Names the set of an order's conversions in campaigns that take unverified ones."""
    return f"lj:{{{shard}}}:claimed:{digest}"


def order(shard: int, digest: str) -> str:
    """Names the reservation of an order: `conversion_id\\nfingerprint\\nstate JSON`.

    An account's order may hold the claims of campaigns instead (`publish_conversions.lua`).
    """
    return f"lj:{{{shard}}}:order:{digest}"


def conversion(shard: int, conversion_id: str) -> str:
    """Names the pointer from a conversion id to the digest of its reservation."""
    return f"lj:{{{shard}}}:conversion:{conversion_id}"


def customer(shard: int, digest: str) -> str:
    """Names the order with which a customer of a campaign first bought."""
    return f"lj:{{{shard}}}:customer:{digest}"


def earner(shard: int, digest: str) -> str:
    """Names the conversion whose affiliate earns all others of a customer."""
    return f"lj:{{{shard}}}:earner:{digest}"


def idempotency(shard: int, digest: str) -> str:
    """Names the first post under an Idempotency-Key: its fingerprint and conversion id."""
    return f"lj:{{{shard}}}:idempotency:{digest}"


def early(shard: int) -> str:
    """Names the sorted set of the orders that adjustments wait for, by when the first expires."""
    return f"lj:{{{shard}}}:early"


def early_order(shard: int, digest: str) -> str:
    """Names the list of the adjustments that wait for an order."""
    return f"lj:{{{shard}}}:early:{digest}"


def early_failed(shard: int, digest: str) -> str:
    """Names the list of an order's early adjustments that could not be applied."""
    return f"lj:{{{shard}}}:early-failed:{digest}"


def early_counts(shard: int) -> str:
    """Names the hash of the numbers of waiting adjustments by account and campaign."""
    return f"lj:{{{shard}}}:early-counts"


def early_turn(shard: int) -> str:
    """Names the mark that somebody has just looked for the orders that adjustments wait for."""
    return f"lj:{{{shard}}}:early-turn"


# The numbers of privacy jobs that are not done, and the newest number.
PRIVACY_OPEN = f"{_REGISTRY}:privacy:open"
PRIVACY_NUMBER = f"{_REGISTRY}:privacy:number"


def privacy_jobs(account: Account) -> str:
    """Names the sorted set of an account's privacy jobs, by number."""
    return f"{_REGISTRY}:privacy:jobs:{account}"


def privacy_job(number: int) -> str:
    """Names a privacy job's JSON."""
    return f"{_REGISTRY}:privacy:job:{number}"


def privacy_export(number: int) -> str:
    """Names the JSON of an export, which expires."""
    return f"{_REGISTRY}:privacy:export:{number}"


def webhook_pending(webhook: int) -> str:
    """Names the hash of an endpoint's pending deliveries, JSON by id."""
    return f"lj:{{w:{webhook}}}:pending"


def webhook_due(webhook: int) -> str:
    """Names the sorted set of an endpoint's pending deliveries, by the time they are due."""
    return f"lj:{{w:{webhook}}}:due"


def webhook_later(webhook: int) -> str:
    """Names the sorted set of those that wait until no other is due: replayed ones."""
    return f"lj:{{w:{webhook}}}:later"


def webhook_order(webhook: int) -> str:
    """Names the sorted set of all of an endpoint's pending deliveries, by their events."""
    return f"lj:{{w:{webhook}}}:order"


def webhook_backlog(webhook: int) -> str:
    """Names the hash of the bytes that wait for an endpoint, and of ranges that are not queued."""
    return f"lj:{{w:{webhook}}}:backlog"


def webhook_outcomes(webhook: int) -> str:
    """Names the list of an endpoint's last finished deliveries, JSON, the newest first."""
    return f"lj:{{w:{webhook}}}:outcomes"


def webhook_finished(webhook: int) -> str:
    """Names the stream of an endpoint's finished deliveries that the warehouse lacks."""
    return f"lj:{{w:{webhook}}}:finished"


def former_webhook_log(webhook: int) -> str:
    """Names the sorted set in which a former release listed an endpoint's deliveries."""
    return f"lj:{{w:{webhook}}}:log"


def former_webhook_delivery(webhook: int, webhook_id: str) -> str:
    """Names the JSON of one delivery of a former release."""
    return f"lj:{{w:{webhook}}}:delivery:{webhook_id}"


def webhook_state(webhook: int) -> str:
    """Names the hash of an endpoint's last success, and of its failures in a row."""
    return f"lj:{{w:{webhook}}}:state"


def rate_limit(limit: str, holder: str) -> str:
    """Names the instant at which all of a limit's requests will be there again (`lease.lua`)."""
    return f"lj:{{rate:{limit}:{holder}}}"


def audit(shard: int) -> str:
    """Names the stream of a shard's audit entries: adjustments that API keys made."""
    return f"lj:{{{shard}}}:audit"


def worker(number: int) -> str:
    """Names the lease of an edge worker number (12 bits of the click id)."""
    return f"lj:worker:{number}"


def visitor_salt(day: str) -> str:
    """Names the salt of the visitor hash for a UTC day, `YYYY-MM-DD`."""
    return f"lj:salt:{day}"


def registry_entry(kind: str, number: int) -> str:
    """Names the JSON of one campaign, affiliate, link or key."""
    return f"{_REGISTRY}:{kind}:{number}"


def registry_index(kind: str, owner: Account | Dataset) -> str:
    """Names the sorted set of the numbers of one kind, by the account or dataset that owns them."""
    return f"{_REGISTRY}:index:{kind}:{owner}"


def tracking_code(code: str) -> str:
    """Names the pointer from a tracking code to its link's number."""
    return f"{_REGISTRY}:code:{code}"


def coupon_code(account: Account, code: str) -> str:
    """Names the pointer from a coupon code, in upper case, to its coupon's number."""
    return f"{_REGISTRY}:coupon:{account}:{code}"


def user_email(email: str) -> str:
    """Names the pointer from a person's e-mail address to its number; the address is not in it."""
    return f"{_REGISTRY}:email:{blake2s(email.encode(), digest_size=16).hexdigest()}"


def owners(account: Account) -> str:
    """Names the set of the numbers of an account's owners, of whom there is always one."""
    return f"{_REGISTRY}:owners:{account}"


def session(digest: str) -> str:
    """Names the session of a person, by the SHA-256 of its token."""
    return f"lj:session:{digest}"


def one_time_link(digest: str) -> str:
    """Names an invitation or a reset that was not used yet, by the SHA-256 of its token."""
    return f"lj:link:{digest}"


def sign_in_failures(kind: Literal["address", "email", "user"], value: str) -> str:
    """Names the number of refused sign-ins; neither address nor e-mail is in it."""
    digest = blake2s(value.encode(), digest_size=16, person=b"sign-in").hexdigest()
    return f"lj:{{sign-in}}:{kind}:{digest}"


def key_digest(digest: str) -> str:
    """Names the pointer from the SHA-256 of an API key to its number."""
    return f"{_REGISTRY}:secret:{digest}"
