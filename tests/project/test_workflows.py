"""What runs on a forge or before a commit is what the Makefile and `.ci/run` have."""

import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.project.checkout import PYPROJECT, ROOT

_MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
_GITHUB = ROOT / ".github"
WORKFLOWS = sorted((_GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((_GITHUB / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def named(path: Path) -> str:
    return path.name


def document(path: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load(path.read_text(encoding="utf-8")))


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in document(workflow)["jobs"].values() for step in job["steps"]]


def commands(workflow: Path) -> list[str]:
    return [step["run"] for step in steps(workflow) if "run" in step]


def recipe(target: str) -> list[str]:
    """Reads the commands of a target, as make runs them."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", _MAKEFILE, re.MULTILINE)
    assert found, f"the Makefile has no {target}"
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found[1].splitlines()]


def test_every_push_and_pull_request_runs_the_script_of_ci_on_both_ends_of_python() -> None:
    [ci] = [path for path in WORKFLOWS if path.name == "ci.yml"]
    # YAML 1.1 reads the key `on` as true.
    assert cast("dict[Any, Any]", document(ci))[True].keys() == {"push", "pull_request"}
    assert ".ci/run" in commands(ci)
    assert 'target="${1:-test}"\n' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    oldest = document(ci)["jobs"]["test"]["strategy"]["matrix"]["python"][0]
    assert PYPROJECT["project"]["requires-python"] == f">={oldest}"


def test_every_week_long_tests_run_and_all_tests_on_the_newest_dependencies() -> None:
    [weekly] = [path for path in WORKFLOWS if path.name == "weekly.yml"]
    assert cast("dict[Any, Any]", document(weekly))[True].keys() == {
        "schedule",
        "workflow_dispatch",
    }
    run = commands(weekly)
    assert ".ci/run test-long" in run
    assert recipe("test-long")
    assert run.index("make lock UPGRADE=1") < run.index(".ci/run")
    assert any("$(if $(UPGRADE),--upgrade)" in line for line in recipe("lock"))


def test_every_week_the_lock_with_all_versions_is_looked_up_among_vulnerabilities() -> None:
    [weekly] = [path for path in WORKFLOWS if path.name == "weekly.yml"]
    assert "make advisories" in commands(weekly)
    [command] = recipe("advisories")
    assert command.startswith(".venv/bin/pip-audit ")
    assert "--require-hashes" in command
    assert command.endswith(" -r requirements/test.lock")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=named)
def test_a_workflow_runs_only_targets_that_the_makefile_has(workflow: Path) -> None:
    for command in commands(workflow):
        for target in re.findall(r"\bmake ([a-z][a-z-]*)", command):
            assert recipe(target)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=named)
def test_a_workflow_may_only_read_and_uses_pinned_actions(workflow: Path) -> None:
    assert document(workflow)["permissions"] == {"contents": "read"}
    actions = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert actions
    assert not [name for name in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name)]


def test_the_hooks_before_a_commit_are_the_commands_of_make_check() -> None:
    [repository] = document(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == recipe("check")


@pytest.mark.parametrize("form", FORMS, ids=named)
def test_an_issue_form_asks_for_something_and_names_each_field_once(form: Path) -> None:
    body = document(form)["body"]
    ids = [field["id"] for field in body if field["type"] != "markdown"]
    assert len(ids) == len(set(ids))
    assert any(field.get("validations", {}).get("required") for field in body)
