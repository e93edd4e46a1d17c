"""Resolves host names in threads of its own: a name that hangs delays no other.

The loop's own resolver shares a handful of threads with everything else, and a thread inside
`getaddrinfo` cannot be interrupted.
"""

import asyncio
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

# Blocks until the host's addresses are known; raises OSError or ValueError.
LookUp = Callable[[str], list[str]]

TIMEOUT_SECONDS = 5.0
# A thread that waits costs some 50 KiB. An endpoint that fails is tried once a minute at most, so
# that even thousands of hanging names seldom hold all of them.
THREADS_MAX = 128
_KEPT_SECONDS = 30.0
_FAILURE_KEPT_SECONDS = 5.0
_KEPT_MAX = 4_096


class ResolveFailed(Exception):
    """A host has no known address; the message is a sentence."""


_Outcome = list[str] | ResolveFailed


def look_up_addresses(host: str) -> list[str]:
    """Asks the system's resolver, in its order of preference."""
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


class Resolver:
    """Looks up each host once at a time; keeps addresses for 30 s and failures for 5 s."""

    def __init__(
        self,
        look_up: LookUp = look_up_addresses,
        *,
        threads_max: int = THREADS_MAX,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._look_up = look_up
        self._threads_free = threads_max
        self._timeout_seconds = timeout_seconds
        self._kept: dict[str, tuple[float, _Outcome]] = {}
        self._running: dict[str, asyncio.Future[_Outcome]] = {}
        self._waiting: deque[str] = deque()

    async def resolve(self, host: str) -> list[str]:
        """Returns the addresses of a host, at least one; raises ResolveFailed."""
        outcome = self._fresh(host) or await self._looked_up(host)
        if isinstance(outcome, ResolveFailed):
            raise ResolveFailed(str(outcome))
        return outcome

    def forget(self, host: str) -> None:
        """Makes the next `resolve` look the host up again."""
        self._kept.pop(host, None)

    async def _looked_up(self, host: str) -> _Outcome:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await asyncio.shield(self._running.get(host) or self._begin(host))
        except TimeoutError:
            message = f"The look-up of {host} took longer than {self._timeout_seconds:g} s."
            failed = ResolveFailed(message)
            self._keep(host, failed)
            return failed

    def _fresh(self, host: str) -> _Outcome | None:
        expires_at, outcome = self._kept.get(host, (0.0, None))
        return outcome if time.monotonic() < expires_at else None

    def _keep(self, host: str, outcome: _Outcome) -> None:
        now = time.monotonic()
        if len(self._kept) >= _KEPT_MAX:
            self._kept = {name: kept for name, kept in self._kept.items() if kept[0] > now}
        seconds = _FAILURE_KEPT_SECONDS if isinstance(outcome, ResolveFailed) else _KEPT_SECONDS
        self._kept[host] = (now + seconds, outcome)

    def _begin(self, host: str) -> asyncio.Future[_Outcome]:
        self._running[host] = asyncio.get_running_loop().create_future()
        self._waiting.append(host)
        self._start_threads()
        return self._running[host]

    def _start_threads(self) -> None:
        while self._waiting and self._threads_free:
            self._threads_free -= 1
            arguments = (self._waiting.popleft(), asyncio.get_running_loop())
            # Not an executor's: the process waits for these before it ends.
            threading.Thread(target=self._work, args=arguments, daemon=True).start()

    def _work(self, host: str, loop: asyncio.AbstractEventLoop) -> None:
        outcome: _Outcome
        try:
            outcome = self._look_up(host) or ResolveFailed(f"The name {host} has no address.")
        except socket.gaierror as error:
            outcome = ResolveFailed(_explain(host, error))
        except (OSError, ValueError):
            outcome = ResolveFailed(f"The name {host} could not be looked up.")
        # The loop may have ended meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._finish, host, outcome)

    def _finish(self, host: str, outcome: _Outcome) -> None:
        self._threads_free += 1
        self._keep(host, outcome)
        self._running.pop(host).set_result(outcome)
        self._start_threads()


def _explain(host: str, error: socket.gaierror) -> str:
    # The second one is unknown to some systems.
    if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)):
        return f"The name {host} does not exist, or has no address."
    if error.errno == socket.EAI_AGAIN:
        return f"The name server does not answer for {host}."
    return f"The name {host} could not be looked up."
