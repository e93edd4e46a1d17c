"""Runs the children of `linkjolt up`, each with its environment, and lists them in run.json."""

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
from linkjolt.settings import PREFIX, UpSettings
from linkjolt.web import server

# Time after the drain of the edges: the warehouse flushes its last slice, Redis its file.
_FLUSH_SECONDS = 3.0
_REDIS_SECONDS = 1.0

_log = structlog.get_logger()


def edge_count(configured: int, cores: int) -> int:
    """Counts the edges to run: as configured, else one per core less one, and at least one."""
    return configured or max(1, cores - 1)


def cores() -> int:
    """Counts the cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class InstallationPlaces(msgspec.Struct, frozen=True):
    """Addresses and folder of an installation: real ports, an absolute data directory."""

    data: str
    host: str
    edge_port: int
    reports_port: int
    redis_url: str
    tls_cert: str = ""

    @property
    def edge_url(self) -> str:
        return self._url(self.edge_port)

    @property
    def reports_url(self) -> str:
        return self._url(self.reports_port)

    def _url(self, port: int) -> str:
        scheme = "https" if self.tls_cert else "http"
        return server.http_url(server.reachable_host(self.host), port, scheme)

    @property
    def control(self) -> str:
        return instance.control_path(self.data)

    def environ(self) -> dict[str, str]:
        """Builds the children's environment: no command line shows the Redis URL's password."""
        return {
            PREFIX + "DATA": self.data,
            PREFIX + "HOST": self.host,
            PREFIX + "EDGE_PORT": str(self.edge_port),
            PREFIX + "REPORTS_PORT": str(self.reports_port),
            PREFIX + "REDIS_URL": self.redis_url,
        }


class Fleet:
    """Children and their supervisor; `redis` is empty where Redis is not ours."""

    def __init__(
        self, settings: UpSettings, places: InstallationPlaces, redis_server: RedisServer | None
    ) -> None:
        self.places = places
        count = edge_count(settings.edges, cores())
        metrics = str(Path(places.data, "metrics"))
        # Edges share a port: any of them answers with the metrics of all, and of the webhooks
        # process, which has no port, from these files.
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
        """Starts edges, warehouse and webhooks together."""
        metrics = Path(self.places.data, "metrics")
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir()
        self.supervisor.start([*self.edges, self.warehouse, self.webhooks])

    def announced(self) -> bool:
        """True when all of them have announced that they serve."""
        children = (*self.edges, self.warehouse, self.webhooks)
        return all(child.announced for child in children)

    def run(self) -> instance.Run:
        pids = instance.Pids(
            supervisor=os.getpid(),
            redis=self.redis[0].pid if self.redis else None,
            warehouse=self.warehouse.pid,
            webhooks=self.webhooks.pid,
            edge=[child.pid for child in self.edges if child.pid],
        )
        places = self.places
        return instance.Run(
            places.edge_url,
            places.reports_url,
            places.redis_url,
            places.control,
            pids,
            places.tls_cert,
        )

    def _write_run(self) -> None:
        try:
            instance.write_run(self.places.data, self.run())
        except OSError as error:
            # A full disk must not stop what still serves.
            _log.error("run.json not written", error=error.strerror)


def _redis_child(redis_server: RedisServer) -> Child:
    return Child("redis", lambda _: redis_server.start())


def _linkjolt_child(command: str, environ: Mapping[str, str], *args: str) -> Child:
    def spawn(ready_fd: int) -> subprocess.Popen[bytes]:
        inner = {lifecycle.READY_FD: str(ready_fd), lifecycle.SUPERVISOR_PID: str(os.getpid())}
        return subprocess.Popen(
            # -P: a module in the current directory must not replace one of ours.
            bound([sys.executable, "-P", "-m", "linkjolt", command, *args]),
            env={**os.environ, **environ, **inner},
            stdin=subprocess.DEVNULL,
            pass_fds=[ready_fd],
            # In its own session: Ctrl-C reaches the supervisor alone, which stops all in order.
            start_new_session=True,
        )

    return Child(command, spawn)
