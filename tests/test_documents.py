"""What the documents name is there: commands, settings, files, tests."""

import ast
import re
from pathlib import Path

import pytest

from linkjolt.cli.main import COMMANDS
from linkjolt.reasons import STATUS, Reason
from linkjolt.settings import PREFIX, shown

_ROOT = Path(__file__).parent.parent
_DOCS = sorted((_ROOT / "docs").rglob("*.md"))
DOCUMENTS = [*sorted(_ROOT.glob("*.md")), *_DOCS]
OF_FILES = [_ROOT / "ARCHITECTURE.md", _ROOT / "CONTRIBUTING.md", *_DOCS]
_LINES_MAX = {"README.md": 200, "ARCHITECTURE.md": 260}
_FOLDERS = "linkjolt|ingest|aggregator|reports|outbound|tests|loadtests|docs"
_PATH = re.compile(rf"(?<![\w./-])(?:{_FOLDERS})/[\w./-]*\w")
_TEST = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")
_LINK = re.compile(r"\]\((?!https?://)([^)]+)\)")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def named(path: Path) -> str:
    return str(path.relative_to(_ROOT))


def test_every_document_is_there() -> None:
    names = {path.name for path in DOCUMENTS}
    wanted = {"README", "ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "SECURITY"}
    assert {f"{name}.md" for name in wanted} <= names
    assert "Apache License" in text_of(_ROOT / "LICENSE")


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_command_that_a_document_names_exists(path: Path) -> None:
    assert not set(re.findall(r"\blinkjolt ([a-z]+)", text_of(path))) - COMMANDS.keys()


def test_the_table_of_commands_has_every_command_for_people_and_no_other() -> None:
    page = text_of(_ROOT / "docs/commands.md")
    rows = re.findall(r"^\| `linkjolt ([\w-]+)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(name for name, entry in COMMANDS.items() if not entry.hidden)


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_variable_that_a_document_names_is_a_setting(path: Path) -> None:
    settings = {row.variable for row in shown({})} | {f"{PREFIX}CONFIG"}
    assert not set(re.findall(rf"\b{PREFIX}[A-Z][A-Z_]*", text_of(path))) - settings


@pytest.mark.parametrize("path", OF_FILES, ids=named)
def test_every_file_that_a_document_names_exists(path: Path) -> None:
    found = set(_PATH.findall(text_of(path)))
    # A page for users need not name any.
    assert found or path.parent == _ROOT / "docs"
    assert not sorted(name for name in found if not (_ROOT / name).exists())


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_test_that_a_document_names_exists(path: Path) -> None:
    missing = [name for file, name in _TEST.findall(text_of(path)) if not _has(file, name)]
    assert not missing


def _has(file: str, test: str) -> bool:
    return (_ROOT / file).exists() and f"def {test}(" in text_of(_ROOT / file)


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_between_documents_leads_somewhere(path: Path) -> None:
    assert not [to for to in _LINK.findall(text_of(path)) if not _leads_somewhere(path, to)]


def _leads_somewhere(path: Path, to: str) -> bool:
    name, _, anchor = to.partition("#")
    target = path.parent / name if name else path
    return target.exists() and (not anchor or anchor in _anchors(text_of(target)))


def _anchors(text: str) -> set[str]:
    """Makes the anchors of a page's headings, as GitHub does."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_page_of_errors_has_one_anchor_for_each_reason() -> None:
    text = text_of(_ROOT / "docs" / "errors.md")
    said = re.findall(r"^### (\w+)\n(\d{3})\. \S", text, re.MULTILINE)
    assert sorted(said) == sorted((reason.value, str(STATUS[reason])) for reason in Reason)


@pytest.mark.parametrize("path", sorted((_ROOT / "docs" / "decisions").glob("*.md")), ids=named)
def test_a_decision_takes_ten_lines_at_most(path: Path) -> None:
    assert len(text_of(path).splitlines()) <= 10


@pytest.mark.parametrize("name", sorted(_LINES_MAX))
def test_a_document_stays_short(name: str) -> None:
    assert len(text_of(_ROOT / name).splitlines()) < _LINES_MAX[name]


BEHAVIOURS = re.findall(
    r"^\| ([^|]+) \| `([\w/]+\.py)` \| `([\w.]+)` \|$", text_of(_ROOT / "ARCHITECTURE.md"), re.M
)


def test_the_architecture_names_thirty_behaviours_three_a_process() -> None:
    processes = [file.partition("/")[0] for _, file, _ in BEHAVIOURS]
    assert len({behaviour for behaviour, _, _ in BEHAVIOURS}) == len(BEHAVIOURS) >= 30
    for process in ("ingest", "aggregator", "reports", "outbound", "linkjolt"):
        assert processes.count(process) >= 3


@pytest.mark.parametrize(("behaviour", "file", "function"), BEHAVIOURS)
def test_every_behaviour_is_where_the_architecture_says(
    behaviour: str, file: str, function: str
) -> None:
    body = ast.parse(text_of(_ROOT / file)).body
    for name in function.split("."):
        found = [
            node
            for node in body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and node.name == name
        ]
        assert found, f"{behaviour}: {name} is not in {file}"
        body = found[0].body
