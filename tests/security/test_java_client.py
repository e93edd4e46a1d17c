"""Java's own HTTP client, which asks every server for HTTP/2 first, posts a conversion."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.money.shop import Api, Shop, unique

_SOURCE = Path(__file__).with_name("PostConversion.java")


def _java() -> str:
    """Returns a Java that runs a source file (Debian: openjdk-17-jdk-headless)."""
    java = shutil.which("java")
    if java is None:
        pytest.skip("not installed: java")
    listed = subprocess.run([java, "--list-modules"], capture_output=True, text=True, check=True)
    if "jdk.compiler@" not in listed.stdout:
        pytest.skip("not installed: Java's compiler")
    return java


@pytest.mark.long
def test_javas_client_posts_a_conversion_over_plain_http(api: Api) -> None:
    shop = Shop(api)
    order = {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": 19.9}
    answers = subprocess.run(
        [_java(), str(_SOURCE), f"{api.edge}/v1/conversions", api.key],
        input=json.dumps(order).encode(),
        capture_output=True,
        check=False,
        timeout=120,
    )
    # The second is the same order again.
    assert answers.stdout.split() == [b"201", b"200"], answers.stderr
