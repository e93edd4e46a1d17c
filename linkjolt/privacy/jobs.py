"""Stores the erasures and exports of customers that an account asks for, until they are done."""

from datetime import datetime
from decimal import Decimal
from typing import Literal, cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.audit_log.entries import AuditSource, encode_entry
from linkjolt.datasets import Account
from linkjolt.registry.whole_numbers import parse_whole_number
from linkjolt.storage.redis import call

JobKind = Literal["erasure", "export"]
# Pending; erased from the warehouse, while the streams still hold what they stored; done.
JobState = Literal["pending", "trimming", "done"]
EXPORT_KEPT_SECONDS = 7 * 86_400
ID_PREFIX = "prv_"


class PrivacyJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job on one customer of an account, in its live and its test events.

    `customer_id` and `customer`, the hash of the e-mail address, are emptied when it is done.
    `erased_at` is when the warehouse was rewritten for the first time.
    """

    number: int
    account: Account
    kind: JobKind
    customer_id: str
    customer: str
    requested_at: datetime
    state: JobState = "pending"
    conversions: int = 0
    rejects: int = 0
    claims: int = 0
    log_rewritten: bool = False
    erased_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def id(self) -> str:
        return f"{ID_PREFIX}{self.number}"


class ExportedConversion(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion of the customer: all that the warehouse holds of it and of its click.

    `items` and `metadata` are the JSON that was posted; `advs` are `adv1` to `adv5`.
    """

    conversion_id: str
    time: datetime
    event: str
    order_id: str
    order_value: Decimal
    currency: str
    customer_id: str
    coupon_code: str
    items: str
    metadata: str
    advs: list[str]
    click_id: str
    country: str
    language: str
    device: str
    os: str
    browser: str
    referrer_host: str


class ExportedConversions(msgspec.Struct, frozen=True, kw_only=True):
    """The data of an export."""

    data: list[ExportedConversion]


def parse_job_id(text: str) -> int | None:
    """Returns the number of a job's id; None for any other text."""
    digits = text.removeprefix(ID_PREFIX)
    return None if digits == text or digits.startswith("0") else parse_whole_number(digits)


class PrivacyJobs:
    """The jobs of all accounts in Redis; RedisError passes through."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def create(self, job: PrivacyJob, source: AuditSource) -> PrivacyJob:
        """Stores a new job under the next number, and its audit entry."""
        number = int(await call(self._redis, "INCR", redis_keys.PRIVACY_NUMBER))
        created = msgspec.structs.replace(job, number=number)
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(redis_keys.privacy_job(number), msgspec.json.encode(created))
            pipeline.zadd(redis_keys.privacy_jobs(job.account), {str(number): number})
            pipeline.zadd(redis_keys.PRIVACY_OPEN, {str(number): number})
            # The customer is in neither: the entry outlives an erasure.
            audited = encode_entry(source, job.account, created.id, [("kind", None, job.kind)])
            pipeline.xadd(redis_keys.AUDIT_REGISTRY, {"e": audited})
            await pipeline.execute()
        return created

    async def save(self, job: PrivacyJob) -> None:
        """Stores a job as it is now; one that is done is open no longer."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(redis_keys.privacy_job(job.number), msgspec.json.encode(job))
            if job.state == "done":
                pipeline.zrem(redis_keys.PRIVACY_OPEN, str(job.number))
            await pipeline.execute()

    async def read(self, account: Account, number: int) -> PrivacyJob | None:
        """Reads a job of an account."""
        [job] = await self._read([number])
        return job if job and job.account == account else None

    async def page(
        self, account: Account, after: int, limit: int
    ) -> tuple[list[PrivacyJob], int | None]:
        """Reads up to `limit` jobs with numbers above `after`, and where the next page begins."""
        numbers = await call(
            self._redis,
            *("ZRANGEBYSCORE", redis_keys.privacy_jobs(account), f"({after}", "+inf"),
            *("LIMIT", 0, limit + 1),
        )
        found = [int(number) for number in numbers]
        jobs = [job for job in await self._read(found[:limit]) if job]
        return jobs, found[limit - 1] if len(found) > limit else None

    async def read_open(self) -> list[PrivacyJob]:
        """Reads all jobs that are not done, the oldest first."""
        numbers = await call(self._redis, "ZRANGE", redis_keys.PRIVACY_OPEN, 0, -1)
        return [job for job in await self._read([int(number) for number in numbers]) if job]

    async def _read(self, numbers: list[int]) -> list[PrivacyJob | None]:
        if not numbers:
            return []
        keys = [redis_keys.privacy_job(number) for number in numbers]
        bodies = cast(list[bytes | None], await call(self._redis, "MGET", *keys))
        return [(body and msgspec.json.decode(body, type=PrivacyJob)) or None for body in bodies]

    async def store_export(self, number: int, text: bytes) -> None:
        key = redis_keys.privacy_export(number)
        await call(self._redis, "SET", key, text, "EX", EXPORT_KEPT_SECONDS)

    async def read_export(self, number: int) -> bytes | None:
        """Reads an export; None once it has expired."""
        return cast(bytes | None, await call(self._redis, "GET", redis_keys.privacy_export(number)))
