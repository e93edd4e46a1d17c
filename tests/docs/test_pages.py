"""The pages' commands work as printed, and answer as printed. Imports none of the application."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, Varying, blocks_of, comparable, replaced
from tests.system.conftest import Instance

_TOUR = re.compile(r"^## A tour\n.*?(?=^## )", re.MULTILINE | re.DOTALL)
_EDGE, _REPORTS, _KEY = "http://127.0.0.1:8000", "http://127.0.0.1:8001", "lj_live_..."
# What was accepted is in reports within a second or two; until then they are asked again.
_REPORTED_SECONDS = 20


def text_of(page: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    if page != "README.md":
        return text
    # Only its tour is to be pasted line by line; the lines above it keep their numbers.
    tour = _TOUR.search(text)
    assert tour
    return "\n" * text.count("\n", 0, tour.start()) + tour[0]


_NAMES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
PAGES = [page for page in _NAMES if blocks_of(text_of(page))]
# An installation of its own is started for each; `make test` has those that newcomers paste.
_FIRST = ("README.md", "docs/conversions.md", "docs/keys.md", "docs/reports.md", "docs/users.md")
_RUN = [page if page in _FIRST else pytest.param(page, marks=pytest.mark.long) for page in PAGES]


class Reader:
    """Pastes a page's blocks into a shell one after the other; variables stay for the next."""

    def __init__(self, instance: Instance, folder: Path) -> None:
        self._folder = folder
        self._actual = {
            _EDGE: instance.run["edge_url"],
            _REPORTS: instance.run["reports_url"],
            _KEY: instance.demo("key"),
        }
        own = {name: text for name, text in os.environ.items() if not name.startswith("LINKJOLT_")}
        path = f"{Path(sys.executable).parent}:{own['PATH']}"
        self._variables = own | {"PATH": path, "LINKJOLT_DATA": str(instance.data)}

    def paste(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Runs the block; its output has the page's addresses in place of the instance's."""
        after = self._folder / "variables"
        script = f"set -a\n{replaced(block.commands, self._actual)}\nenv -0 >'{after}'"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self._folder,
            env=self._variables,
        )
        if done.returncode == 0:
            pairs = [pair.partition("=") for pair in after.read_text().split("\0") if pair]
            self._variables = {name: value for name, _, value in pairs}
        done.stdout = replaced(done.stdout, {self._actual[url]: url for url in (_EDGE, _REPORTS)})
        return done


@pytest.mark.parametrize("document", _RUN)
def test_a_pages_commands_answer_as_it_says(
    document: str, limited_instance: Instance, tmp_path: Path
) -> None:
    reader = Reader(limited_instance, tmp_path)
    printed, answered = Varying(), Varying()
    for block in blocks_of(text_of(document)):
        at = f"{document}, line {block.line}"
        wanted = printed.named(comparable(block.answer))
        done, found = _answer(reader, block, answered, wanted)
        assert done.returncode == 0, f"{at}: {done.stderr}{done.stdout}"
        assert not block.answer or found == wanted, at


def _answer(
    reader: Reader, block: Block, answered: Varying, wanted: str
) -> tuple[subprocess.CompletedProcess[str], str]:
    """Runs the block and names what varies; asks a report again until it has what is wanted."""
    deadline = time.monotonic() + (_REPORTED_SECONDS if _only_reads_reports(block) else 0)
    while True:
        done = reader.paste(block)
        trial = Varying(dict(answered.seen))
        found = trial.named(comparable(done.stdout))
        if not block.answer or found == wanted or time.monotonic() > deadline:
            answered.seen.update(trial.seen)
            return done, found


def _only_reads_reports(block: Block) -> bool:
    lines = block.commands.splitlines()
    return all("$REPORTS/v1/" in line and " -d " not in line for line in lines)


def test_every_page_for_users_is_run() -> None:
    users = {"conversions", "registry", "commission-rules", "coupons", "keys", "errors"}
    others = {"postbacks", "webhooks", "reports", "rates", "oauth", "users"}
    assert {"README.md", *(f"docs/{name}.md" for name in users | others)} <= set(PAGES)


@pytest.mark.parametrize("document", PAGES)
def test_a_page_shows_answers(document: str) -> None:
    assert any(block.answer for block in blocks_of(text_of(document)))


def test_a_page_that_lies_is_found_out() -> None:
    told, true = Varying(), Varying()
    one = comparable('{"commission_amount": 29.90, "id": "cmp_2"}')
    assert one != comparable('{"commission_amount":29.9,"id":"cmp_2"}')
    assert one == comparable('{"commission_amount":29.90,\n  "id":"cmp_2"}\n')
    ids = "conv_01M836R6CD00095G84DAX9N75Y", "conv_01M836R6CD00095G84DAX9N75Z"
    assert told.named(f"{ids[0]} {ids[0]}") != true.named(f"{ids[0]} {ids[1]}")
