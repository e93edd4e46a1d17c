"""The load of open dashboards, in small."""

import subprocess
import sys

from loadtests.dashboards import Seen, table
from tests.chaos.environment import ROOT, plain_environ


def test_a_few_dashboards_see_what_is_stored_and_the_figures_are_told() -> None:
    sizes = ["--dashboards", "3", "--clicks-per-second", "60", "--seconds", "6"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "loadtests.dashboards", *sizes],
        env=plain_environ() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 dashboards, 60 clicks/s, 6 s" in done.stdout
    assert ", 0 failed" in done.stdout
    assert done.stdout.rstrip().endswith("audit: clean")


def test_a_figure_beyond_its_budget_is_said_so() -> None:
    seen = Seen(took=[0.01, 0.2], stale=[0.5, 0.6], resident_mb=[100, 110, 120], ticks=20)
    lines = {line.split("  ")[0]: line for line in table(seen, 2, 5).splitlines()}
    assert lines["API p99"].endswith("FAIL")
    assert lines["age of data p99"].endswith("PASS")
    assert lines["ticks a dashboard and second"].split()[-1] == "2.0"
