"""Clients generated from the documents compile, and one posts a conversion."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.project.openapi.conftest import DOCUMENTS, Node
from tests.system.conftest import Instance, own_instance

__all__ = ["own_instance"]
pytestmark = pytest.mark.long
# Run by a Python of its own: the client is no package of this process.
_POST = """
import sys
from shop.api.conversions import get_conversion, post_conversions
from shop.client import AuthenticatedClient
from shop.models import Conversion, ConversionDetails, ConversionPost

url, key, code = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=key)
body = ConversionPost(tracking_code=code, order_id="order_1", order_value="99.99")
answer = post_conversions.sync_detailed(client=client, body=body)
assert answer.status_code == 201, answer
conversion = answer.parsed
assert isinstance(conversion, Conversion), conversion
details = get_conversion.sync(conversion.conversion_id, client=client)
assert isinstance(details, ConversionDetails), details
print(conversion.conversion_id, details.order_value, len(details.history))
"""


def generate(document: Path, folder: Path) -> None:
    """Writes a Python client for a document into a folder."""
    bin = Path(sys.executable).parent
    words = ("generate", "--path", document, "--output-path", folder, "--meta", "none")
    config = folder.with_suffix(".yaml")
    config.write_text("post_hooks: []\n")
    done = subprocess.run(
        [bin / "openapi-python-client", *words, "--config", config],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_schema_compiles_in_ajv_strictly(
    node: Node, document_paths: list[Path], name: str
) -> None:
    path = document_paths[list(DOCUMENTS).index(name)]
    compiled = int(node.run("compile.mjs", str(path)))
    assert compiled > len(DOCUMENTS[name]["components"]["schemas"])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_types_for_typescript_compile(node: Node, document_paths: list[Path], name: str) -> None:
    path = document_paths[list(DOCUMENTS).index(name)]
    types = path.with_suffix(".ts")
    node.run("node_modules/openapi-typescript/bin/cli.js", str(path), "-o", str(types))
    for operation in operation_ids(DOCUMENTS[name]):
        assert f"    {operation}: {{" in types.read_text(encoding="utf-8")
    node.run("node_modules/typescript/bin/tsc", "--noEmit", "--strict", str(types))


def operation_ids(document: dict[str, Any]) -> Iterator[str]:
    for methods in document["paths"].values():
        for operation in methods.values():
            yield operation["operationId"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_python_client_is_generated_and_imports(document_paths: list[Path], name: str) -> None:
    path = document_paths[list(DOCUMENTS).index(name)]
    generate(path, path.parent / "shop")
    functions = {file.stem for file in (path.parent / "shop" / "api").rglob("*.py")}
    assert {"get_me", "create_link", "get_conversion", "list_webhooks"} <= functions
    words = [sys.executable, "-c", "import shop.models, shop.api.links.create_link"]
    subprocess.run(words, cwd=path.parent, check=True, timeout=60)


def test_a_generated_client_posts_a_conversion_that_is_recorded(
    own_instance: Instance, document_paths: list[Path]
) -> None:
    path = document_paths[0]
    generate(path, path.parent / "shop")
    code = own_instance.demo("link").rpartition("/")[2]
    words = (own_instance.run["edge_url"], own_instance.demo("key"), code)
    done = subprocess.run(
        [sys.executable, "-c", _POST, *words],
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    conversion_id, order_value, entries = done.stdout.split()
    assert conversion_id.startswith("conv_")
    assert (float(order_value), int(entries)) == (99.99, 1)
