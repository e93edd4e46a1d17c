"""Sends the queued deliveries of one endpoint: signs, retries and records them.

An endpoint has a few deliveries in progress at most, and only one while it fails, so that it does
not delay any other.
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
from linkjolt.webhooks.queue import (
    ATTEMPTS_KEPT,
    ClaimedDelivery,
    Delivery,
    DeliveryAttempt,
    DeliveryQueue,
)
from linkjolt.webhooks.signing import sign
from outbound import metrics
from outbound.retries import next_delay_seconds, retry_after_seconds
from outbound.transport import EndpointClient, EndpointResponse

CONCURRENCY = 8
# Twice CONCURRENCY: all are tried before the lease of the claim expires.
_CLAIM_MAX = 16
# After this many failures in a row, one delivery at a time tests whether the endpoint answers.
_CIRCUIT_FAILURES = 5
_PAUSE_SECONDS = 1.0
log = structlog.get_logger()


class EndpointSender:
    """Sends the deliveries of one endpoint."""

    def __init__(
        self,
        redis: Redis,
        queue: DeliveryQueue,
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
        """Makes `run` look for deliveries that are due."""
        self._due.set()

    async def run(self) -> None:
        """Sends deliveries until the endpoint is disabled, or the task cancelled."""
        endpoint = EndpointClient(
            self.webhook.url, connections=CONCURRENCY, allow_private=self._allow_private
        )
        async with endpoint:
            while not self._disabled:
                self._due.clear()
                try:
                    busy = await self._send_batch(endpoint)
                except RedisError as error:
                    log.warning("webhook deliveries wait for redis", error=str(error)[:200])
                    busy = False
                    await asyncio.sleep(_PAUSE_SECONDS)
                if not busy and not self._disabled:
                    await self._due.wait()

    async def _send_batch(self, endpoint: EndpointClient) -> bool:
        """Sends a batch of due deliveries concurrently; False if none is due."""
        count = 1 if self._failures >= _CIRCUIT_FAILURES else _CLAIM_MAX
        claimed = await self._queue.claim(self.webhook.number, _now_ms(), count)
        if not claimed:
            return False
        responses = await asyncio.gather(
            *(self._send(endpoint, claim.delivery) for claim in claimed)
        )
        recorded: list[tuple[ClaimedDelivery, Delivery, int]] = []
        for claim, response in zip(claimed, responses, strict=True):
            tried = _with_try(claim.delivery, response)
            due_ms = self._next_due_ms(tried, response)
            recorded.append((claim, _with_state(tried, due_ms), due_ms))
        await self._queue.record(self.webhook.number, recorded)
        await self._disable_if_failed([delivery for _, delivery, _ in recorded], responses)
        return True

    async def _send(self, endpoint: EndpointClient, delivery: Delivery) -> EndpointResponse:
        now = datetime.now(UTC)
        body = delivery.body.encode()
        keys = [
            secret.secret
            for secret in self.webhook.secrets
            if secret.expires_at is None or secret.expires_at > now
        ]
        async with self._slots:
            headers = sign(delivery.webhook_id, int(time.time()), body, keys)
            with metrics.TRY_SECONDS.time():
                return await endpoint.post(body, headers)

    def _next_due_ms(self, delivery: Delivery, response: EndpointResponse) -> int:
        """Computes when the delivery is due again, 0 for never, and counts the outcome."""
        succeeded = 200 <= response.status < 300
        metrics.TRIES.labels("delivered" if succeeded else "failed").inc()
        self._failures = 0 if succeeded else self._failures + 1
        if succeeded or response.status == 410:
            return 0
        retry_after = retry_after_seconds(response.retry_after, datetime.now(UTC))
        delay = next_delay_seconds(delivery.attempt, self._delays, retry_after)
        return 0 if delay is None else _now_ms() + int(delay * 1000)

    async def _disable_if_failed(
        self, deliveries: Sequence[Delivery], responses: Sequence[EndpointResponse]
    ) -> None:
        for delivery, response in zip(deliveries, responses, strict=True):
            if response.status == 410:
                await self._disable("the endpoint answered 410 Gone")
            elif delivery.state == "failed":
                last = response.error or f"status {response.status}"
                await self._disable(
                    f"a delivery failed {delivery.attempt} times, the last by: {last}"
                )

    async def _disable(self, reason: str) -> None:
        """Disables the endpoint in the registry with a reason, and logs it."""

        def disable(webhook: Webhook) -> Webhook:
            if webhook.status == "disabled":
                return webhook
            return msgspec.structs.replace(webhook, status="disabled", disabled_reason=reason)

        number, self._disabled = self.webhook.number, True
        with suppress(Rejected):
            await self._registry.patch(Webhook, self.webhook.account, number, disable)
        metrics.DISABLED.inc()
        log.error("webhook disabled", webhook=public_id("webhook", number), reason=reason)


def _with_try(delivery: Delivery, response: EndpointResponse) -> Delivery:
    latest = DeliveryAttempt(
        at_ms=_now_ms() - response.took_ms,
        took_ms=response.took_ms,
        status=response.status,
        error=response.error,
        answer=response.start,
    )
    tries = (*delivery.tries, latest)[-ATTEMPTS_KEPT:]
    return msgspec.structs.replace(delivery, tries=tries, attempt=delivery.attempt + 1)


def _with_state(delivery: Delivery, due_ms: int) -> Delivery:
    """Sets the state of a delivery that is not due again, by its last try."""
    if due_ms:
        return delivery
    succeeded = 200 <= delivery.tries[-1].status < 300
    return msgspec.structs.replace(delivery, state="delivered" if succeeded else "failed")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
