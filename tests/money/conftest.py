"""Runs one installation for all rows; each row has a campaign and affiliates of its own."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.money.merchant import Merchant
from tests.money.shop import Api, Shop
from tests.system.conftest import start

OpenShop = Callable[..., Shop]
# Short slices, so that reports are fresh soon; a long time-out, for a busy machine is no outage.
SETTINGS = {
    "LINKJOLT_WEBHOOK_ALLOW_PRIVATE": "1",
    "LINKJOLT_SLICE_MS": "100",
    "LINKJOLT_EDGES": "1",
}
PATIENT = {"LINKJOLT_REDIS_TIMEOUT_SECONDS": "5"}


@contextmanager
def running(folder: Path, **settings: str) -> Generator[Api]:
    """Runs an installation under a folder."""
    instance = start(folder / "data", **(SETTINGS | settings))
    api = Api(instance)
    try:
        yield api
    finally:
        api.http.close()
        instance.stop()


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(tmp_path_factory.mktemp("money"), **PATIENT) as one:
        yield one


@pytest.fixture
def open_shop(api: Api) -> OpenShop:
    """Opens a shop whose campaign has the fields given."""

    def open_one(**campaign: Any) -> Shop:
        return Shop(api, **campaign)

    return open_one


@pytest.fixture
def shop(api: Api) -> Shop:
    return Shop(api)


@pytest.fixture
def merchant() -> Iterator[Merchant]:
    """Runs a merchant's endpoints, and deletes the webhooks that lead to them."""
    running = Merchant()
    yield running
    running.close()
