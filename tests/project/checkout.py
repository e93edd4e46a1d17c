"""The checkout as git and pyproject.toml describe it."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked(*folders: str) -> list[str]:
    """Lists the tracked files that exist, relative to the checkout; of all folders by default."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *folders], cwd=ROOT, check=True, capture_output=True
    )
    names = listed.stdout.decode().split("\0")
    return sorted(name for name in names if name and (ROOT / name).is_file())


def package_folders() -> list[str]:
    """Lists the top-level packages, whether setuptools has them by name or by a pattern."""
    packages: list[str] | dict[str, Any] = PYPROJECT["tool"]["setuptools"]["packages"]
    names: list[str] = packages if isinstance(packages, list) else packages["find"]["include"]
    return sorted({name.partition(".")[0].rstrip("*") for name in names})
