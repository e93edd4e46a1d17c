"""Requests nobody thought of: assembled, cut and damaged by chance, from fixed seeds."""

import pytest

from loadtests.edge_pair import Pair
from loadtests.fuzz import fuzz_pair
from loadtests.fuzz_requests import Requests
from tests.conformance.both import Both


@pytest.mark.parametrize("seed", range(4))
async def test_assembled_requests_get_the_same_answers_and_clicks(both: Both, seed: int) -> None:
    requests = Requests(seed)
    for _ in range(50):
        await both.ask(*requests.well_formed().segments)


async def test_two_thousand_requests_of_any_kind_get_the_same_answers(pair: Pair) -> None:
    fuzz, problems = await fuzz_pair(pair, requests=2_000, seed=20261123)
    assert problems == []
    assert fuzz.answers["302"] > 500
    assert fuzz.silent == 0
