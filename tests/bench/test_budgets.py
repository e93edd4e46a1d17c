"""The bench's targets, in numbers; README.md states the same ones."""

import re
from pathlib import Path

import pytest

from loadtests.bench import budgets
from loadtests.bench.budgets import Budget

README = Path(__file__).parents[2] / "README.md"
TARGETS = {
    budgets.CLICKS_TO_LUA: ">= 2x",
    budgets.CLICKS_TO_LUA_EVERYSEC: ">= 2.5x",
    budgets.CLICKS_TO_BARE_NGINX: ">= 0.6x",
    budgets.REDIRECT_P99: "<= 4 ms",
    budgets.REDIRECT_P99_TO_LUA: "<= 1x",
    budgets.CONVERSIONS: ">= 20,000/s",
    budgets.CONVERSION_LINES: ">= 70,000/s",
    budgets.WEBHOOKS: ">= 2,000/s",
    budgets.EVENTS_STORED: ">= 100,000/s",
    budgets.VISIBLE_P50: "<= 0.8 s",
    budgets.VISIBLE_P99: "<= 1.5 s",
    budgets.WAITING_CLICK: "<= 400 bytes",
    budgets.INSTALLED_START: "<= 5 s",
    budgets.FRESH_START: "<= 90 s",
    budgets.REPORT_P99: "<= 100 ms",
    budgets.FIRST_REPORT: "<= 1 s",
    budgets.SHORT_P50_REPORTS: ">= 20 of 24",
    budgets.SHORT_P99_REPORTS: ">= 12 of 24",
}


def test_every_target_is_a_number_that_was_agreed() -> None:
    declared = [value for value in vars(budgets).values() if isinstance(value, Budget)]
    assert {budget: str(budget) for budget in declared} == TARGETS
    assert budgets.SHORT_REPORT_MS == 50


@pytest.mark.parametrize("budget", [Budget(">=", 2.5, "x"), Budget("<=", 2.5, "x")], ids=str)
def test_a_figure_on_the_bound_is_allowed_and_one_beyond_it_is_not(budget: Budget) -> None:
    below, above = budget.allows(2.49), budget.allows(2.51)
    assert budget.allows(2.5)
    assert (below, above) == ((False, True) if budget.sign == ">=" else (True, False))


def test_the_readme_states_every_target() -> None:
    rows = re.findall(r"^\| [^|]+ \| ([<>]= [^|]+) \| [^|]+ \| \w+ \|$", README.read_text(), re.M)
    assert sorted(rows) == sorted(TARGETS.values())
