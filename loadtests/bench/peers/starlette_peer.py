"""Serves a plain Starlette application under uvicorn (httptools, uvloop) as a peer."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

from linkjolt.runtime.redis_server import free_port
from loadtests.bench.peers.peer import Peer, ServedPeer, TurnEnvironment
from loadtests.bench.peers.starlette_app import REDIS_URL, STREAM
from loadtests.bench.programs import running_program, wait_listening

_UVICORN = ["-P", "-m", "uvicorn", "loadtests.bench.peers.starlette_app:app", "--factory"]
_OPTIONS = ["--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "error"]


@contextmanager
def _serve(environment: TurnEnvironment) -> Generator[ServedPeer]:
    port = free_port()
    log = environment.folder / "uvicorn.log"
    command = [sys.executable, *_UVICORN, *_OPTIONS, "--port", str(port)]
    with running_program(
        command, environment.cores.worker, log, {REDIS_URL: environment.redis_url}
    ) as child:
        wait_listening(port, child, log)
        yield ServedPeer(port, child.pid)


STARLETTE = Peer("Starlette", STREAM, _serve)
