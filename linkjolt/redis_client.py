"""How every process connects to the Redis-protocol server: short timeouts, no hidden retries."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

__all__ = ["RedisConnectionError", "RedisError", "connect"]


def connect(url: str, timeout_seconds: float = 5.0) -> Redis:
    """A client of bytes; each command is sent once, for a repeat is the caller's decision.

    redis-py by itself repeats a command ten times, on time-outs too, which doubles an XADD.
    """
    return Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=0,
    )
