"""The aggregator's line, and a running instance, as the other tests have them."""

from tests.aggregator.conftest import line
from tests.system.conftest import own_instance

__all__ = ["line", "own_instance"]
