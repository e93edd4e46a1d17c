"""Random requests, assembled, cut and damaged from fixed seeds, are answered alike."""

import pytest

from loadtests.edge_pair import EdgePair
from loadtests.fuzz import fuzz_pair
from loadtests.fuzz_requests import RequestGenerator
from tests.conformance.both import Both


@pytest.mark.parametrize("seed", range(4))
async def test_assembled_requests_get_the_same_answers_and_clicks(both: Both, seed: int) -> None:
    requests = RequestGenerator(seed)
    for _ in range(50):
        await both.ask(*requests.well_formed().segments)


async def test_two_thousand_requests_of_any_kind_get_the_same_answers(pair: EdgePair) -> None:
    fuzz, problems = await fuzz_pair(pair, requests=2_000, seed=20261123)
    assert problems == []
    assert fuzz.answers["302"] > 500
    assert fuzz.silent_total == 0
