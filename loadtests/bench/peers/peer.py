"""What a turn knows of a peer: its name, the stream it writes, how it is served."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadtests.bench.plan import Cores


class TurnEnvironment(msgspec.Struct, frozen=True):
    """What a turn gives: an empty folder, a fresh Redis-protocol server, cores."""

    folder: Path
    redis_url: str
    cores: Cores


class ServedPeer(msgspec.Struct, frozen=True):
    """A peer that takes requests; `key` is an API key, where it has such."""

    port: int
    pid: int
    key: str = ""


class Peer(NamedTuple):
    """`stream` is empty for one that stores nothing."""

    name: str
    stream: str
    serve: Callable[[TurnEnvironment], AbstractContextManager[ServedPeer]]
