"""Which fault points a test arms, one after the other: each once, then tables."""

from collections.abc import Sequence
from typing import Any

import pytest

PASSAGES = (1, 2, 3)


def rounds(points: Sequence[str]) -> list[Any]:
    """Makes the parameters: every point's first passage in turn, and three passages of each."""
    tables = [
        pytest.param([f"{point}:{n}" for n in PASSAGES], marks=pytest.mark.long, id=point)
        for point in points
    ]
    return [pytest.param([f"{point}:1" for point in points], id="each point once"), *tables]
