"""Runs one installation for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.money.conftest import PATIENT
from tests.money.shop import Api
from tests.system.conftest import start


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Runs an installation, and returns its API under the admin key."""
    instance = start(tmp_path_factory.mktemp("attacked") / "data", **PATIENT)
    yield Api(instance)
    instance.stop()
