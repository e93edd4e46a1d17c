"""Declares the environment of the child processes of these tests."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]


def plain_environ() -> dict[str, str]:
    """Returns this process's environment without settings of LinkJolt."""
    return {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")}
