"""What `linkjolt up` runs: which children, with which environment, and run.json about them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from linkjolt.runtime import instance, lifecycle
from linkjolt.runtime.bound_children import bound
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.runtime.supervisor import Child, Stage, Supervisor
from linkjolt.settings import PREFIX, Up
from linkjolt.web import server

# Time after the drain of the edges: the warehouse flushes its last slice, Redis its file.
_FLUSH_SECONDS = 3.0
_REDIS_SECONDS = 1.0

_log = structlog.get_logger()


def edge_count(wanted: int, cores: int) -> int:
    """How many edges run: those wanted, else one per core less one, and at least one."""
    return wanted or max(1, cores - 1)


def cores() -> int:
    """Cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Places(msgspec.Struct, frozen=True):
    """Where everything is found; ports are true ones, `data` is absolute."""

    data: str
    host: str
    edge_port: int
    reports_port: int
    redis_url: str

    @property
    def edge_url(self) -> str:
        return server.http_url(server.reachable(self.host), self.edge_port)

    @property
    def reports_url(self) -> str:
        return server.http_url(server.reachable(self.host), self.reports_port)

    @property
    def control(self) -> str:
        return instance.control_path(self.data)

    def environ(self) -> dict[str, str]:
        """What children read. The Redis URL, with its password, is on no command line."""
        return {
            PREFIX + "DATA": self.data,
            PREFIX + "HOST": self.host,
            PREFIX + "EDGE_PORT": str(self.edge_port),
            PREFIX + "REPORTS_PORT": str(self.reports_port),
            PREFIX + "REDIS_URL": self.redis_url,
        }


class Fleet:
    """The children and the supervisor over them; `redis` is empty where Redis is not ours."""

    def __init__(self, settings: Up, places: Places, redis_server: RedisServer | None) -> None:
        self.places = places
        count = edge_count(settings.edges, cores())
        metrics = str(Path(places.data, "metrics"))
        # Edges share a port: whichever is asked for metrics answers for all, and for the webhooks,
        # which have none, by these files.
        edge_environ = places.environ() | {"PROMETHEUS_MULTIPROC_DIR": metrics}
        self.redis = [_redis_child(redis_server)] if redis_server else []
        self.edges = [_linkjolt_child("edge", edge_environ) for _ in range(count)]
        self.warehouse = _linkjolt_child("warehouse", places.environ())
        self.webhooks = _linkjolt_child("webhooks", edge_environ, "run")
        drained = settings.shutdown_seconds + 0.5
        stages = [
            Stage(self.edges, drained),
            Stage([self.warehouse, self.webhooks], drained + _FLUSH_SECONDS),
            Stage(self.redis, drained + _FLUSH_SECONDS + _REDIS_SECONDS),
        ]
        self.supervisor = Supervisor(stages, self._write_run)

    def start_redis(self) -> None:
        self.supervisor.start(self.redis)

    def start_rest(self) -> None:
        """Starts edges, warehouse and webhooks, all at once."""
        metrics = Path(self.places.data, "metrics")
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir()
        self.supervisor.start([*self.edges, self.warehouse, self.webhooks])

    def announced(self) -> bool:
        """True when all that was started said that it serves."""
        children = (*self.edges, self.warehouse, self.webhooks)
        return all(child.announced for child in children)

    def run(self) -> instance.Run:
        pids = instance.Pids(
            supervisor=os.getpid(),
            redis=sum(child.pid for child in self.redis),
            warehouse=self.warehouse.pid,
            webhooks=self.webhooks.pid,
            edge=[child.pid for child in self.edges if child.pid],
        )
        at = self.places
        return instance.Run(at.edge_url, at.reports_url, at.redis_url, at.control, pids)

    def _write_run(self) -> None:
        try:
            instance.write_run(self.places.data, self.run())
        except OSError as error:
            # A full disk must not take down what still serves.
            _log.error("run.json not written", error=error.strerror)


def _redis_child(redis_server: RedisServer) -> Child:
    return Child("redis", lambda _: redis_server.start())


def _linkjolt_child(command: str, environ: Mapping[str, str], *words: str) -> Child:
    def spawn(ready_fd: int) -> subprocess.Popen[bytes]:
        inner = {lifecycle.READY_FD: str(ready_fd), lifecycle.SUPERVISOR_PID: str(os.getpid())}
        return subprocess.Popen(
            # -P: a module in the current directory must not stand in for one of ours.
            bound([sys.executable, "-P", "-m", "linkjolt", command, *words]),
            env={**os.environ, **environ, **inner},
            stdin=subprocess.DEVNULL,
            pass_fds=[ready_fd],
            # A session of its own: Ctrl-C is for the supervisor, which stops all in order.
            start_new_session=True,
        )

    return Child(command, spawn)
