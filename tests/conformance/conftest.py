"""Provides edges for the whole run, with fast clicks and without."""

import asyncio
from collections.abc import Iterator

import pytest

from loadtests import edge_pair
from loadtests.edge_pair import EdgePair
from tests.conformance.both import Both
from tests.conformance.clocked import MovableLoop, Running, serve


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgePair]:
    with edge_pair.running(tmp_path_factory.mktemp("edges")) as running_pair:
        yield running_pair


@pytest.fixture(scope="session")
def _both(pair: EdgePair) -> Iterator[Both]:
    both = Both(pair)
    yield both
    both.close()


@pytest.fixture
def both(_both: Both) -> Both:
    # Skips the clicks of earlier tests.
    _both.new_clicks()
    return _both


@pytest.fixture(scope="session", params=[False, True], ids=["ordinary", "fast"])
def run(
    request: pytest.FixtureRequest, pair: EdgePair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    ordinary, data = pair.ordinary, tmp_path_factory.mktemp("edge")
    edge = serve(ordinary.redis.url, data, ordinary.key_file, fast=request.param)
    with asyncio.Runner(loop_factory=MovableLoop) as runner:
        clocked = runner.run(edge.__aenter__())
        yield Running(runner, clocked)
        runner.run(edge.__aexit__(None, None, None))
