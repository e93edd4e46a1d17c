"""Declares a peer: its name, the stream it writes, and how it is served."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadtests.bench.plan import Cores


class TurnEnvironment(msgspec.Struct, frozen=True):
    """The environment of a turn: an empty folder, a new Redis-protocol server, cores."""

    folder: Path
    redis_url: str
    cores: Cores


class ServedPeer(msgspec.Struct, frozen=True):
    """A peer that accepts requests; `key` is an API key if it has one."""

    port: int
    pid: int
    key: str = ""


class Peer(NamedTuple):
    """A peer; `stream` is empty if it stores nothing."""

    name: str
    stream: str
    serve: Callable[[TurnEnvironment], AbstractContextManager[ServedPeer]]
