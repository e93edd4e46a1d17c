"""What a release uploads: complete files, and a wheel that works without the checkout."""

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from linkjolt import __version__
from tests.project.checkout import PYPROJECT, ROOT, package_folders, tracked

_IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    print(package.__file__)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the sdist, and the wheel from it, of a copy: a checkout may hold an old build."""
    copy = tmp_path_factory.mktemp("copy")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    # The backend is that of the lock, which is installed.
    run(sys.executable, "-m", "build", "--no-isolation", folder=copy)
    return copy / "dist"


def run(*command: str | Path, folder: Path) -> str:
    """Runs a command in a folder and returns its output; a failure shows it."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def only(dist: Path, pattern: str) -> Path:
    [path] = dist.glob(pattern)
    return path


def test_the_wheel_has_every_file_of_the_packages_and_no_other(dist: Path) -> None:
    with zipfile.ZipFile(only(dist, "*.whl")) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    expected = tracked(*package_folders())
    assert {Path(name).suffix for name in expected} >= {".py", ".lua", ".sql", ".html", ".js"}
    assert sorted(names) == expected


def test_the_sdist_has_the_packages_and_what_people_look_for(dist: Path) -> None:
    with tarfile.open(only(dist, "*.tar.gz")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert not {*tracked(*package_folders()), "LICENSE", "README.md", "pyproject.toml"} - names


def test_the_version_of_both_is_the_one_in_the_source(dist: Path) -> None:
    assert {path.name.split("-")[1].removesuffix(".tar.gz") for path in dist.iterdir()} == {
        __version__
    }
    assert "version" not in PYPROJECT["project"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_installed_wheel_needs_no_checkout_and_no_embedded_server(
    dist: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    pip = (binaries / "python", "-I", "-m", "pip", "-qq", "--disable-pip-version-check")
    lock = ROOT / "requirements" / "server.lock"
    run(*pip, "install", "--require-hashes", "-r", lock, folder=tmp_path)
    run(*pip, "install", "--no-deps", only(dist, "*.whl"), folder=tmp_path)
    run(*pip, "check", folder=tmp_path)

    assert "Usage: linkjolt" in run(binaries / "linkjolt", "--help", folder=tmp_path)
    files = run(
        *(binaries / "python", "-I", "-c", _IMPORT_ALL, *package_folders()), folder=tmp_path
    ).split()
    assert len(files) == len(package_folders())
    assert all(Path(file).is_relative_to(tmp_path / "venv") for file in files)
