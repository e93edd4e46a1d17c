"""From an endpoint's queue to the endpoint: signed, tried again, recorded; each for itself.

One endpoint has a few deliveries under way at most, and one only while it fails, so that no other
waits for it.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import structlog
from redis.asyncio import Redis

from linkjolt.reasons import Rejected
from linkjolt.registry.entries import Webhook, public_id
from linkjolt.registry.store import Registry
from linkjolt.storage.redis import RedisError
from linkjolt.webhooks.queue import TRIES_KEPT, Claimed, Delivery, Queue, Try
from linkjolt.webhooks.signing import sign
from outbound import metrics
from outbound.retries import next_delay_seconds, retry_after_seconds
from outbound.transport import Answer, Endpoint

CONCURRENCY = 8
# Twice as many: all are tried before the lease of the claim is over.
_CLAIMED = 16
# After so many failures in a row one delivery at a time tries whether it answers again.
_CIRCUIT_FAILURES = 5
_PAUSE_SECONDS = 1.0
log = structlog.get_logger()


class Sender:
    """Sends the deliveries of one endpoint."""

    def __init__(
        self,
        redis: Redis,
        queue: Queue,
        webhook: Webhook,
        *,
        delays: Sequence[float],
        allow_private: bool,
    ) -> None:
        self.webhook = webhook
        self._registry = Registry(redis)
        self._queue = queue
        self._delays = delays
        self._allow_private = allow_private
        self._due = asyncio.Event()
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._failures = 0
        self._disabled = False

    def wake(self) -> None:
        """Something is due."""
        self._due.set()

    async def run(self) -> None:
        """Until the endpoint is disabled, or it is cancelled."""
        endpoint = Endpoint(
            self.webhook.url, connections=CONCURRENCY, allow_private=self._allow_private
        )
        async with endpoint:
            while not self._disabled:
                self._due.clear()
                try:
                    busy = await self._send_some(endpoint)
                except RedisError as error:
                    log.warning("webhook deliveries wait for Redis", error=str(error)[:200])
                    busy = False
                    await asyncio.sleep(_PAUSE_SECONDS)
                if not busy and not self._disabled:
                    await self._due.wait()

    async def _send_some(self, endpoint: Endpoint) -> bool:
        """One round of deliveries at once; False where nothing is due."""
        count = 1 if self._failures >= _CIRCUIT_FAILURES else _CLAIMED
        claimed = await self._queue.claim(self.webhook.number, _now_ms(), count)
        if not claimed:
            return False
        answers = await asyncio.gather(*(self._send(endpoint, one.delivery) for one in claimed))
        recorded: list[tuple[Claimed, Delivery, int]] = []
        for one, answer in zip(claimed, answers, strict=True):
            tried = _tried(one.delivery, answer)
            due_ms = self._judge(tried, answer)
            recorded.append((one, _settled(tried, due_ms), due_ms))
        await self._queue.record(self.webhook.number, recorded)
        done = [delivery for _, delivery, _ in recorded]
        await self._disable_where(done, answers)
        return True

    async def _send(self, endpoint: Endpoint, one: Delivery) -> Answer:
        now = datetime.now(UTC)
        body = one.body.encode()
        valid = [s for s in self.webhook.secrets if s.expires_at is None or s.expires_at > now]
        keys = [secret.secret for secret in valid]
        async with self._slots:
            headers = sign(one.webhook_id, int(time.time()), body, keys)
            with metrics.TRY_SECONDS.time():
                return await endpoint.post(body, headers)

    def _judge(self, one: Delivery, answer: Answer) -> int:
        """When the delivery is due again; 0 for no more."""
        good = 200 <= answer.status < 300
        metrics.TRIES.labels("delivered" if good else "failed").inc()
        self._failures = 0 if good else self._failures + 1
        if good or answer.status == 410:
            return 0
        wait = retry_after_seconds(answer.retry_after, datetime.now(UTC))
        delay = next_delay_seconds(one.attempt, self._delays, wait)
        return 0 if delay is None else _now_ms() + int(delay * 1000)

    async def _disable_where(self, done: Sequence[Delivery], answers: Sequence[Answer]) -> None:
        for one, answer in zip(done, answers, strict=True):
            if answer.status == 410:
                await self._disable("the endpoint answered 410 Gone")
            elif one.state == "failed":
                last = answer.error or f"status {answer.status}"
                await self._disable(f"a delivery failed {one.attempt} times, the last by: {last}")

    async def _disable(self, reason: str) -> None:
        """A notice for whoever lists the endpoints, and for the log."""

        def disable(webhook: Webhook) -> Webhook:
            if webhook.status == "disabled":
                return webhook
            return msgspec.structs.replace(webhook, status="disabled", disabled_reason=reason)

        of, self._disabled = self.webhook, True
        with suppress(Rejected):
            await self._registry.patch(Webhook, of.account, of.number, disable)
        metrics.DISABLED.inc()
        log.error("webhook disabled", webhook=public_id("webhook", of.number), reason=reason)


def _tried(one: Delivery, answer: Answer) -> Delivery:
    this = Try(
        at_ms=_now_ms() - answer.took_ms,
        took_ms=answer.took_ms,
        status=answer.status,
        error=answer.error,
        answer=answer.start,
    )
    tries = (*one.tries, this)[-TRIES_KEPT:]
    return msgspec.structs.replace(one, tries=tries, attempt=one.attempt + 1)


def _settled(one: Delivery, due_ms: int) -> Delivery:
    """The delivery with its state, by its last try and whether there is to be another."""
    if due_ms:
        return one
    good = 200 <= one.tries[-1].status < 300
    return msgspec.structs.replace(one, state="delivered" if good else "failed")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
