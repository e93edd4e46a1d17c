"""Reads and writes demo.json, by which commands find the demo's key."""

from pathlib import Path

import msgspec

from linkjolt.runtime.instance import write_private


class Demo(msgspec.Struct, frozen=True):
    """The demo link's code and the demo key's secret; `key_number` finds the key."""

    tracking_code: str
    key: str
    key_number: int


def read_demo(data: str) -> Demo | None:
    """Reads the demo of a data directory; None where there is none."""
    try:
        return msgspec.json.decode(demo_path(data).read_bytes(), type=Demo)
    except (OSError, msgspec.DecodeError):
        return None


def write_demo(data: str, demo: Demo) -> None:
    """Writes demo.json, for this user only: the API shows a key's secret once."""
    write_private(demo_path(data), msgspec.json.encode(demo))


def demo_path(data: str) -> Path:
    """Returns the file that holds the demo's key, in a data directory."""
    return Path(data, "demo.json")
