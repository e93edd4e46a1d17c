"""The edge answers as its OpenAPI document says, and without a server error."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.system.conftest import Instance

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
_HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
# Excluded at first: the run would change, rotate or revoke its own key.
_KEYS = r"^/v1/keys/\{id\}(/rotate)?$"


def post(instance: Instance, path: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {instance.demo('key')}"}
    answer = httpx2.post(instance.run["edge_url"] + path, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def contract(instance: Instance, phases: str, *words: str) -> str:
    """Runs schemathesis and returns its report; fails on any finding."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"{instance.run['edge_url']}/openapi.json",
            *("-H", f"Authorization: Bearer {instance.demo('key')}"),
            *("--checks", ",".join(_CHECKS)),
            *("--phases", phases, "--max-examples", "5", "--seed", "1"),
            *words,
        ],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=Path(instance.data).parent,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(_HOOKS)},
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-1_000:]
    return done.stdout


@pytest.mark.parametrize(
    ("phases", "cases_min"),
    [
        pytest.param("examples,coverage,fuzzing", 2_000, marks=pytest.mark.long, id="all"),
        pytest.param("examples", 60, id="few"),
    ],
)
def test_requests_made_of_the_document_find_nothing_that_is_not_in_it(
    own_instance: Instance, phases: str, cases_min: int
) -> None:
    own = {"campaign_id": "cmp_1", "affiliate_id": "aff_1"}
    post(own_instance, "/v1/coupons", own | {"code": "SPRING"})
    post(own_instance, "/v1/conversions", {"coupon_code": "spring", "event": "lead"})
    report = contract(own_instance, phases, "--exclude-path-regex", _KEYS)
    found = re.search(r"(\d+) generated, (\d+) passed", report)
    assert found
    assert int(found[1]) == int(found[2]) >= cases_min
    post(own_instance, "/v1/keys", {"name": "to be revoked", "scopes": ["links:read"]})
    contract(own_instance, phases, "--include-path-regex", _KEYS)
    assert own_instance.linkjolt("audit").returncode == 0
