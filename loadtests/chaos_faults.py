"""Draws faults from a seed and injects them into a running instance."""

import asyncio
import os
import random
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from linkjolt.runtime.redis_server import RedisServer
from loadtests.chaos_instance import Instance, wait_for
from loadtests.chaos_proxy import LossyProxy

Victim = Literal["edge", "warehouse", "redis"]
VICTIMS: tuple[Victim, ...] = ("edge", "warehouse", "redis")
_RESTART_SECONDS = 30
# The share of replies lost during a fault: enough to hit some, few enough for progress.
LOST_SHARE = 0.05


class Fault(msgspec.Struct, frozen=True):
    """One round: the kind of fault, its victim and duration, and the pause after it."""

    kind: Literal["kill", "stop", "lose replies"]
    victim: Victim
    seconds: float
    pause_seconds: float
    choice: float

    def __str__(self) -> str:
        if self.kind == "kill":
            return f"kill -9 {self.victim}"
        if self.kind == "stop":
            return f"stop {self.victim} for {self.seconds:.1f} s"
        return f"lose replies of redis for {self.seconds:.1f} s"


def plan_faults(rounds: int, seed: int, *, lossy: bool, pace: float = 1.0) -> list[Fault]:
    """Draws the faults of a run; if `lossy`, every second one loses replies.

    `pace` scales the pauses.
    """
    chance = random.Random(seed)
    return [_draw(chance, lossy=lossy and number % 2 == 0, pace=pace) for number in range(rounds)]


def _draw(chance: random.Random, *, lossy: bool, pace: float) -> Fault:
    kind = "lose replies" if lossy else chance.choice(("kill", "kill", "stop"))
    victim = "redis" if lossy else chance.choice(VICTIMS)
    seconds = 0.0 if kind == "kill" else chance.uniform(0.2, 3.0)
    return Fault(kind, victim, seconds, chance.uniform(2.0, 6.0) * pace, chance.random())


class OwnRedis:
    """A Redis-protocol server for this run alone, behind a proxy that can lose replies."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._server = RedisServer(folder)
        self._child = self._server.start()
        self.proxy = LossyProxy(self._server.url, seed)

    async def ready(self) -> None:
        await asyncio.to_thread(self._server.wait_ready, self._child)

    @property
    def pid(self) -> int:
        return self._child.pid

    async def restart(self) -> None:
        """Starts the server again after it was killed."""
        await asyncio.to_thread(self._child.wait)
        self._child = self._server.start()
        await self.ready()

    def end(self) -> None:
        self._child.send_signal(signal.SIGCONT)
        self._child.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(20)
        self._child.kill()
        self._child.wait()


class FaultInjector:
    """Injects faults into one instance; its Redis is `own_redis`, or the supervisor's if None."""

    def __init__(self, instance: Instance, own_redis: OwnRedis | None) -> None:
        self._instance = instance
        self._own_redis = own_redis

    async def inject(self, fault: Fault) -> None:
        """Returns when a killed process runs again, or a stopped one has been continued."""
        if fault.kind == "lose replies":
            await self._lose_replies(fault.seconds)
        elif fault.kind == "stop":
            await _freeze(await self._pid(fault), fault.seconds)
        else:
            await self._kill(fault)

    async def _lose_replies(self, seconds: float) -> None:
        assert self._own_redis
        self._own_redis.proxy.lost_share = LOST_SHARE
        try:
            await asyncio.sleep(seconds)
        finally:
            self._own_redis.proxy.lost_share = 0.0

    async def _kill(self, fault: Fault) -> None:
        pid = await self._pid(fault)
        os.kill(pid, signal.SIGKILL)
        if fault.victim == "redis" and self._own_redis:
            await self._own_redis.restart()
            return

        def runs_again() -> bool:
            pids = self._pids(fault)
            return pid not in pids and None not in pids

        await wait_for(f"{fault.victim} is started again", runs_again, _RESTART_SECONDS)

    def _pids(self, fault: Fault) -> list[int | None]:
        """Lists the victim's process ids; None for a process that is not running."""
        if fault.victim == "redis" and self._own_redis:
            return [self._own_redis.pid]
        pids = self._instance.pids()
        if fault.victim == "edge":
            return [*pids.edge] or [None]
        return [pids.warehouse if fault.victim == "warehouse" else pids.redis]

    async def _pid(self, fault: Fault) -> int:
        def runs() -> bool:
            return None not in self._pids(fault)

        await wait_for(f"{fault.victim} runs", runs, _RESTART_SECONDS)
        pids = [pid for pid in self._pids(fault) if pid is not None]
        return pids[int(fault.choice * len(pids))]


async def _freeze(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
