"""Keeps the last success of an endpoint and its circuit in Redis, so that they outlive a process.

Each process that delivers has a circuit of its own, and stores it when it changes; the time of the
last success is everybody's.
"""

from hashlib import blake2s
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.registry.entries import Webhook
from linkjolt.storage.redis import call
from outbound.circuit import Circuit


class _StoredCircuit(msgspec.Struct, frozen=True):
    """A circuit, and a hash of the URL whose failures it counts."""

    url: str
    circuit: Circuit


_read_circuit = msgspec.json.Decoder(_StoredCircuit).decode


class EndpointState:
    """What is known of one endpoint's answers; RedisError passes through."""

    def __init__(self, redis: Redis, webhook: Webhook) -> None:
        self._redis = redis
        self._key = redis_keys.webhook_state(webhook.number)
        self._url = blake2s(webhook.url.encode(), digest_size=8).hexdigest()
        self.circuit = Circuit()
        self.succeeded_ms = 0
        self._stored = (self.circuit, self.succeeded_ms)

    async def load(self) -> None:
        """Reads what an earlier process stored; failures of another URL do not count."""
        circuit, succeeded = await call(self._redis, "HMGET", self._key, "circuit", "succeeded_ms")
        self.succeeded_ms = int(succeeded or 0)
        if circuit and (stored := _read_circuit(circuit)).url == self._url:
            self.circuit = stored.circuit
        self._stored = (self.circuit, self.succeeded_ms)

    async def save(self) -> None:
        """Stores what has changed."""
        circuit, succeeded_ms = self.circuit, self.succeeded_ms
        changed: list[Any] = []
        if circuit != self._stored[0]:
            changed += ["circuit", msgspec.json.encode(_StoredCircuit(self._url, circuit))]
        if succeeded_ms != self._stored[1]:
            changed += ["succeeded_ms", succeeded_ms]
        if changed:
            await call(self._redis, "HSET", self._key, *changed)
            self._stored = (circuit, succeeded_ms)

    async def has_succeeded_since(self, since_ms: int) -> bool:
        """Returns whether a request of any process was answered by a success since."""
        stored = cast(bytes | None, await call(self._redis, "HGET", self._key, "succeeded_ms"))
        self.succeeded_ms = max(self.succeeded_ms, int(stored or 0))
        return self.succeeded_ms >= since_ms


async def forget_failures(redis: Redis, webhook: int) -> None:
    """Closes the circuit of an endpoint that was disabled: it is made active by a person."""
    await call(redis, "HDEL", redis_keys.webhook_state(webhook), "circuit")


async def delete_state(redis: Redis, webhook: int) -> None:
    """Deletes the state of a deleted endpoint."""
    await call(redis, "DEL", redis_keys.webhook_state(webhook))
