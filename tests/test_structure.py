"""Rules of the source itself: which package imports which, sizes, names, complete tables."""

import ast
import re
from pathlib import Path

import msgspec
import pytest

from linkjolt.reasons import STATUS, TITLES, Reason
from linkjolt.settings import KINDS, shown

_ROOT = Path(__file__).parent.parent
_SIDES = ("ingest", "aggregator", "reports", "outbound")
_PACKAGES = ("linkjolt", *_SIDES)
_FILE_LINES_MAX = 400
_FUNCTION_LINES_MAX = 40
_RESERVED = re.compile(r"(Manager|Handler|Helper|Service|Base|Impl)(?![a-z])")
_RESERVED_MODULES = {"utils", "util", "common", "helpers", "misc", "data", "process"}

SOURCES = [path for package in _PACKAGES for path in sorted((_ROOT / package).rglob("*.py"))]
ALL = (
    SOURCES + sorted((_ROOT / "tests").rglob("*.py")) + sorted((_ROOT / "loadtests").rglob("*.py"))
)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def named(path: Path) -> str:
    return str(path.relative_to(_ROOT))


def imported_packages(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{named(path)} has a relative import"
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_imports_point_one_way(path: Path) -> None:
    package = path.relative_to(_ROOT).parts[0]
    forbidden = {*_SIDES, "tests", "loadtests"} - {package}
    assert not imported_packages(path) & forbidden


def test_system_tests_import_nothing_of_the_application() -> None:
    folders = (_ROOT / "tests" / name for name in ("system", "docs"))
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    assert paths
    assert not [named(path) for path in paths if imported_packages(path) & set(_PACKAGES)]


@pytest.mark.parametrize("path", ALL, ids=named)
def test_files_and_functions_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= _FILE_LINES_MAX
    long = [
        f"{node.name}: {length}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > _FUNCTION_LINES_MAX
    ]
    assert not long


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_names_say_what_a_thing_is(path: Path) -> None:
    classes = [node.name for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    assert not [name for name in classes if _RESERVED.search(name)]
    assert path.stem not in _RESERVED_MODULES


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(tree(path))


def test_every_reason_has_a_status_and_a_title() -> None:
    assert STATUS.keys() == TITLES.keys() == set(Reason)
    assert all(200 <= status < 600 for status in STATUS.values())


def test_every_setting_has_a_description_that_is_a_sentence() -> None:
    rows = shown({})
    assert len(rows) == len({field for kind in KINDS for field in kind.__struct_fields__})
    assert not [row.variable for row in rows if not re.fullmatch(r"[A-Z].*\.", row.description)]


def test_every_setting_has_a_default() -> None:
    fields = [field for kind in KINDS for field in msgspec.structs.fields(kind)]
    assert not [field.name for field in fields if field.required]
