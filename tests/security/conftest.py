"""Runs one installation for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.money.conftest import PATIENT, running
from tests.money.shop import Api


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Runs an installation, and returns its API under the admin key."""
    with running(tmp_path_factory.mktemp("attacked"), **PATIENT) as one:
        yield one
