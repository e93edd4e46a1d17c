"""A plain Starlette application under uvicorn (httptools, uvloop) as a peer."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

from linkjolt.runtime.redis_server import free_port
from loadtests.bench.peer import Peer, Place, Serving
from loadtests.bench.programs import program, wait_listening
from loadtests.bench.starlette_app import REDIS_URL, STREAM

_UVICORN = ["-P", "-m", "uvicorn", "loadtests.bench.starlette_app:app", "--factory"]
_OPTIONS = ["--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "error"]


@contextmanager
def _serve(place: Place) -> Generator[Serving]:
    port = free_port()
    log = place.folder / "uvicorn.log"
    command = [sys.executable, *_UVICORN, *_OPTIONS, "--port", str(port)]
    with program(command, place.cores.worker, log, {REDIS_URL: place.redis_url}) as child:
        wait_listening(port, child, log)
        yield Serving(port, child.pid)


STARLETTE = Peer("Starlette", STREAM, _serve)
