"""Names what Redis holds of a customer: the claims by id and by the hash of the e-mail address."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2s

from linkjolt import redis_keys
from linkjolt.datasets import Dataset

# In place of a campaign's number.
ANY_CAMPAIGN = 0


def customer_hash(email: str | None, key: bytes) -> str:
    """Hashes an e-mail, trimmed and in lower case, with keyed BLAKE2s; only the hash is stored."""
    if email is None:
        return ""
    hashed = _keyed_hash(key).copy()
    hashed.update(email.strip().lower().encode())
    return hashed.hexdigest()


@lru_cache(maxsize=4)
def _keyed_hash(key: bytes) -> "blake2s":
    # Hashes the key's block once, not for every e-mail.
    return blake2s(key=key, digest_size=16)


def hashed_key(name: Callable[[int, str], str], text: str, shards: int) -> str:
    """Names a key of the shard of a text, which only its hash tells apart."""
    digest = blake2s(text.encode(), digest_size=16).hexdigest()
    return name(int(digest, 16) % shards, digest)


def first_order_keys(
    dataset: Dataset, campaign: int, customer_id: str, customer: str, shards: int
) -> list[str]:
    """Names the claims of a first order in a campaign, that of the id first.

    `customer` is the hash of the e-mail address; both may be ''.
    """
    texts = [
        f"{dataset}:{campaign}:{length}:{identity}"
        for identity, length in ((customer_id, 0), (customer, len(customer)))
        if identity
    ]
    return [hashed_key(redis_keys.customer, text, shards) for text in texts]


def identities_of(customer_id: str | None, customer: str) -> list[str]:
    """Returns texts for the id and the hash of the e-mail address, the id first."""
    by_id = [f"id:{customer_id}"] if customer_id else []
    return [*by_id, f"email:{customer}"] if customer else by_id


def earner_keys(
    dataset: Dataset, of_customer: Sequence[str], campaign: int, shards: int
) -> list[str]:
    """Names what says whose a customer is in a campaign, or in any, by `identities_of`."""
    texts = [f"{dataset}:{campaign}:{identity}" for identity in of_customer]
    return [hashed_key(redis_keys.earner, text, shards) for text in texts]
