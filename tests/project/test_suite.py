"""`make test` has every test that is not marked, and `make test-long` has every test."""

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.project.checkout import ROOT, tracked

_TESTS = """import pytest

def test_plain() -> None: ...

@pytest.mark.long
def test_long() -> None: ...
"""


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a checkout whose files of tests have a plain and a long test each."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ["pyproject.toml", *tracked("tests")]:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name == "pyproject.toml":
            file.write_bytes((ROOT / name).read_bytes())
        elif file.name in ("__init__.py", "conftest.py") or file.name.startswith("test_"):
            file.write_text(_TESTS if file.name.startswith("test_") else "")
    (folder / "tests" / "conftest.py").write_text(
        "from hypothesis import settings\nsettings.register_profile('short', max_examples=25)\n"
    )
    return folder


def collected(target: str, folder: Path) -> set[str]:
    """Lists the tests that a target of the Makefile would run in the folder."""
    said = subprocess.run(
        ["make", "-n", target], cwd=ROOT, check=True, capture_output=True, text=True
    )
    runs = [line for line in said.stdout.splitlines() if " -m pytest " in line]
    found = set[str]()
    for run in runs:
        python, *words = shlex.split(run)
        command = [
            str(ROOT / python),
            *words,
            "-n",
            "0",
            "-p",
            "no:randomly",
            "--collect-only",
            "-q",
        ]
        listed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        found |= {line for line in listed.stdout.splitlines() if "::" in line}
    return found


def every(name: str) -> set[str]:
    return {f"{file}::{name}" for file in tracked("tests") if Path(file).name.startswith("test_")}


def test_a_test_without_a_marker_runs_for_every_commit(mirror: Path) -> None:
    assert collected("test", mirror) == every("test_plain")


def test_the_long_run_has_every_test(mirror: Path) -> None:
    assert collected("test-long", mirror) == every("test_plain") | every("test_long")
