"""The locks: complete, with hashes, and from no index in particular."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.project.checkout import PYPROJECT, ROOT

_PROJECT = PYPROJECT["project"]
_BACKEND: list[str] = PYPROJECT["build-system"]["requires"]
_EXTRAS: dict[str, list[str]] = _PROJECT["optional-dependencies"]
# What each lock has beside the product's own dependencies and the build backend.
LOCKS: dict[str, list[str]] = {
    "server": [],
    "run": _EXTRAS["embedded"],
    "test": [line for extra in _EXTRAS.values() for line in extra],
}
_PIN = re.compile(r"[a-z0-9-]+==[^ ;]+( ; [^\\]+)?( --hash=sha256:[0-9a-f]{64})+")


def lines(lock: str) -> list[str]:
    """Reads a lock's lines without comments, each joined with those that continue it."""
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    joined = re.sub(r" *\\\n *", " ", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE))
    return joined.splitlines()


def pins(lock: str) -> set[tuple[str, str]]:
    return {(name, version) for name, version in (pin.split("==") for pin in _pins(lock))}


def _pins(lock: str) -> list[str]:
    return [line.split(" ")[0] for line in lines(lock)]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_what_pyproject_asks_for_within_its_bounds(lock: str) -> None:
    pinned = pins(lock)
    asked = [Requirement(line) for line in [*_PROJECT["dependencies"], *_BACKEND, *LOCKS[lock]]]
    for one in asked:
        versions = [version for name, version in pinned if name == canonicalize_name(one.name)]
        assert versions, f"{one.name} is not in {lock}.lock: run make lock"
        assert all(Version(version) in one.specifier for version in versions), one


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_pins_with_hashes_and_has_no_url_or_option(lock: str) -> None:
    assert not [line for line in lines(lock) if not _PIN.fullmatch(line)]


def test_every_lock_has_the_same_versions() -> None:
    assert pins("server") < pins("run") < pins("test")


def test_every_lock_is_one_that_is_tested() -> None:
    assert {path.stem for path in Path(ROOT / "requirements").iterdir()} == LOCKS.keys()


def test_the_backend_in_the_locks_is_the_one_that_pyproject_asks_for() -> None:
    assert PYPROJECT["dependency-groups"]["build"] == _BACKEND
