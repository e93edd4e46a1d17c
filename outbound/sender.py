"""Sends the queued deliveries of one endpoint: signs, retries and records them.

An endpoint has a few slots. Each takes a delivery as soon as it is free, so that a slow answer
holds one slot only; while the endpoint fails or asks to wait, it has one, with pauses. It delays no
other endpoint.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import structlog

from linkjolt.audit_log.entries import AuditSource
from linkjolt.reasons import Rejected
from linkjolt.registry.entries import Webhook, public_id
from linkjolt.registry.store import Registry
from linkjolt.webhooks.allowed_targets import PrivateTargets
from linkjolt.webhooks.queue import (
    ATTEMPTS_KEPT,
    LEASE_MS,
    ClaimedDelivery,
    Delivery,
    DeliveryAttempt,
    DeliveryQueue,
)
from linkjolt.webhooks.signing import sign
from outbound import metrics, resolver, retries, transport
from outbound.circuit import IN_FLIGHT_MAX, Slots, after_failure, after_success
from outbound.endpoint_state import EndpointState
from outbound.recorder import AttemptRecorder, until_done
from outbound.resolver import Resolver
from outbound.transport import EndpointClient, EndpointResponse

_CLAIM_MAX = 16
_CLAIMED_MIN = 8
# A write to Redis may take the time of many requests.
_UNRECORDED_MAX = 64
# A delivery that starts later might still be under way when its lease ends.
_START_WITHIN_SECONDS = LEASE_MS / 1000 - transport.TIMEOUT_SECONDS - resolver.TIMEOUT_SECONDS - 1
_LOOK_SECONDS = 0.5
_SOURCE = AuditSource(actor="system", operation="disableFailingWebhook")
log = structlog.get_logger()


class EndpointSender:
    """Sends the deliveries of one endpoint, at one URL."""

    def __init__(
        self,
        registry: Registry,
        queue: DeliveryQueue,
        webhook: Webhook,
        resolver: Resolver,
        *,
        delays: Sequence[float],
        allowed: PrivateTargets,
    ) -> None:
        self.webhook = webhook
        self._registry = registry.written_by(_SOURCE)
        self._queue = queue
        self._delays = delays
        self._state = EndpointState(registry.redis, webhook)
        self._recorder = AttemptRecorder(queue, webhook.number, self._state)
        self._client = EndpointClient(
            webhook.url, resolver, connections=IN_FLIGHT_MAX, allowed=allowed
        )
        self._slots = Slots()
        # Leased and not started yet, with the time of their claim.
        self._claimed: deque[tuple[float, ClaimedDelivery]] = deque()
        self._claiming = False
        self._unrecorded = 0
        self._due = True
        self._changed = asyncio.Event()
        self._disabling = False
        self.stopping = False

    @property
    def is_failing(self) -> bool:
        return self._state.circuit.is_open

    def wake(self) -> None:
        """Makes `run` look for deliveries that are due."""
        self._due = True
        self._changed.set()

    def update(self, webhook: Webhook) -> None:
        """Uses a changed endpoint for whatever starts from now on; its URL is the same."""
        self.webhook = webhook

    def stop(self) -> None:
        """Starts no more deliveries; `run` returns when those under way are recorded."""
        self.stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Sends deliveries until `stop`, or until the endpoint is disabled."""
        async with self._client, asyncio.TaskGroup() as tasks:
            await until_done(self._state.load)
            while not self.stopping:
                self._changed.clear()
                self._start(tasks)
                if self._wants_more():
                    self._claiming = True
                    tasks.create_task(self._claim())
                await self._release_late()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._wait_seconds()):
                        await self._changed.wait()
            await self._release()

    def _start(self, tasks: asyncio.TaskGroup) -> None:
        now = time.monotonic()
        while self._claimed and self._free() and now - self._claimed[0][0] < _START_WITHIN_SECONDS:
            _, claim = self._claimed.popleft()
            number = self._slots.start(now)
            self._unrecorded += 1
            tasks.create_task(self._deliver(number, claim, is_test=self._state.circuit.is_open))

    def _free(self) -> int:
        if self.stopping or self._disabling or self._unrecorded >= _UNRECORDED_MAX:
            return 0
        return self._slots.free(time.monotonic(), self._state.circuit, _now_ms())

    def _wants_more(self) -> bool:
        if self._claiming or not self._due:
            return False
        if self._state.circuit.is_open:
            return not self._claimed and self._free() > 0
        return len(self._claimed) <= _CLAIMED_MIN

    async def _claim(self) -> None:
        """Claims deliveries in advance, as a claim may take longer than a request."""
        self._due = False
        count = 1 if self._state.circuit.is_open else _CLAIM_MAX
        number, now = self.webhook.number, time.monotonic()
        claimed = await until_done(lambda: self._queue.claim(number, _now_ms(), count))
        self._claimed += [(now, claim) for claim in claimed]
        # There may be more.
        self._due = self._due or len(claimed) == count
        self._claiming = False
        self._changed.set()
        if self.stopping:
            await self._release()

    def _wait_seconds(self) -> float | None:
        """Computes when there may be something to do though nothing changes."""
        if not self._due and not self._claimed:
            return None
        paused_ms = self._state.circuit.resumes_at_ms - _now_ms()
        return paused_ms / 1000 if paused_ms > 0 else _LOOK_SECONDS

    async def _release_late(self) -> None:
        """Releases claimed deliveries that would start late, or wait for a test."""
        if self._claimed:
            late = time.monotonic() - self._claimed[0][0] >= _START_WITHIN_SECONDS
            if late or self._state.circuit.is_open:
                await self._release()

    async def _release(self) -> None:
        """Makes claimed deliveries due again that are not started."""
        unchanged = [(claim, claim.delivery, _now_ms()) for _, claim in self._claimed]
        self._claimed.clear()
        if unchanged:
            self._due = True
            await until_done(lambda: self._queue.record(self.webhook.number, unchanged))

    async def _deliver(self, number: int, claim: ClaimedDelivery, *, is_test: bool) -> None:
        try:
            response = await self._post(claim.delivery)
            if response.succeeded:
                self._slots.succeed(number)
        finally:
            self._slots.end(number)
        tried = _with_try(claim.delivery, response)
        due_ms = self._next_due_ms(tried, response, is_test=is_test)
        self._changed.set()
        tried = _with_state(tried, due_ms)
        await self._recorder.record((claim, tried, due_ms))
        if not response.succeeded:
            await until_done(lambda: self._disable_if_given_up(tried, response))
        self._unrecorded -= 1
        self._changed.set()

    async def _post(self, delivery: Delivery) -> EndpointResponse:
        now = datetime.now(UTC)
        body = delivery.body.encode()
        keys = [
            secret.secret
            for secret in self.webhook.secrets
            if secret.expires_at is None or secret.expires_at > now
        ]
        headers = sign(delivery.webhook_id, int(now.timestamp()), body, keys)
        with metrics.TRY_SECONDS.time():
            return await self._client.post(body, headers)

    def _next_due_ms(self, tried: Delivery, response: EndpointResponse, *, is_test: bool) -> int:
        """Computes when the delivery is due again, 0 for never, and counts the outcome."""
        metrics.TRIES.labels("delivered" if response.succeeded else "failed").inc()
        now, now_ms, state = datetime.now(UTC), _now_ms(), self._state
        if response.succeeded:
            state.circuit, state.succeeded_ms = after_success(state.circuit), now_ms
            return 0
        if response.status == 410:
            return 0
        pause = retries.pause_seconds(response.status, response.retry_after, now)
        state.circuit = after_failure(
            state.circuit, now_ms, retry_after_seconds=pause, is_test=is_test
        )
        wait = max(pause, retries.retry_after_seconds(response.retry_after, now))
        delay = retries.next_delay_seconds(tried.attempt, self._delays, wait)
        return 0 if delay is None else now_ms + int(delay * 1000)

    async def _disable_if_given_up(self, tried: Delivery, response: EndpointResponse) -> None:
        """Disables the endpoint unless only this delivery fails there."""
        last = response.error or f"status {response.status}"
        if response.status == 410:
            await self._disable("the endpoint answered 410 Gone")
        elif tried.state == "failed":
            first_ms = tried.tries[-min(tried.attempt, len(tried.tries))].at_ms
            if await self._state.has_succeeded_since(first_ms):
                metrics.GIVEN_UP.inc()
            else:
                message = f"a delivery failed {tried.attempt} times, the last by: {last}"
                await self._disable(message)
        elif await self._has_failed_too_long(response):
            since = datetime.fromtimestamp(self._state.circuit.failing_since_ms / 1000, UTC)
            message = f"all has failed since {since:%Y-%m-%dT%H:%M:%SZ}, the last by: {last}"
            await self._disable(message)

    async def _has_failed_too_long(self, response: EndpointResponse) -> bool:
        """Returns True if nothing succeeded for longer than a delivery is tried.

        While many deliveries wait, none of them may have its last try for weeks.
        """
        since_ms = self._state.circuit.failing_since_ms
        if not since_ms or response.retry_after:
            return False
        too_long = _now_ms() - since_ms > retries.longest_seconds(self._delays) * 1000
        return too_long and not await self._state.has_succeeded_since(since_ms)

    async def _disable(self, reason: str) -> None:
        """Disables the endpoint in the registry with a reason, and logs it."""

        def disable(webhook: Webhook) -> Webhook:
            if webhook.status == "disabled":
                return webhook
            return msgspec.structs.replace(webhook, status="disabled", disabled_reason=reason)

        number, self._disabling = self.webhook.number, True
        with suppress(Rejected):
            await self._registry.patch(Webhook, self.webhook.account, number, disable)
        self.stop()
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
