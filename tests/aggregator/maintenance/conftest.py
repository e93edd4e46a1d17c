"""Shares the fixtures of the aggregator's line and of a running instance."""

from tests.aggregator.conftest import line
from tests.system.conftest import own_instance

__all__ = ["line", "own_instance"]
