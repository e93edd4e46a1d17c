"""Provides an edge and the reports listener in this process, and runs one installation."""

from collections.abc import Iterator

import pytest

from tests.ingest.conftest import shop
from tests.money.conftest import PATIENT, running
from tests.money.shop import Api
from tests.reports.conftest import client

__all__ = ["api", "client", "shop"]


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Runs an installation, and returns its API under the admin key."""
    with running(tmp_path_factory.mktemp("attacked"), **PATIENT) as one:
        yield one
