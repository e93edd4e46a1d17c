"""Edges for the whole run, each once with fast clicks and once without."""

import asyncio
from collections.abc import Iterator

import pytest

from loadtests import edge_pair
from loadtests.edge_pair import Pair
from tests.conformance.both import Both
from tests.conformance.clocked import MovableLoop, Running, serve


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with edge_pair.running(tmp_path_factory.mktemp("edges")) as made:
        yield made


@pytest.fixture(scope="session")
def _both(pair: Pair) -> Iterator[Both]:
    made = Both(pair)
    yield made
    made.close()


@pytest.fixture
def both(_both: Both) -> Both:
    # What an earlier test left in the streams.
    _both.new_clicks()
    return _both


@pytest.fixture(scope="session", params=[False, True], ids=["ordinary", "fast"])
def run(
    request: pytest.FixtureRequest, pair: Pair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    edge = serve(pair.ordinary.redis.url, tmp_path_factory.mktemp("edge"), fast=request.param)
    with asyncio.Runner(loop_factory=MovableLoop) as runner:
        clocked = runner.run(edge.__aenter__())
        yield Running(runner, clocked)
        runner.run(edge.__aexit__(None, None, None))
