"""Provides a sealer with a key file of its own."""

import tempfile
from functools import cache
from pathlib import Path

from linkjolt.storage.key_file import create_key_file
from linkjolt.storage.sealing import Sealer


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="sealer-")


def any_sealer() -> Sealer:
    """Returns a sealer for tests that do not care by which key; the same key in one run."""
    path = Path(_folder().name, "secret.key")
    create_key_file(path)
    return Sealer(path)
