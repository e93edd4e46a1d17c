"""The source keeps its own rules: floors, no circles, sizes, names, complete tables."""

import ast
import re
from functools import cache
from pathlib import Path

import msgspec
import pytest

from linkjolt.reasons import STATUS, TITLES, Reason
from linkjolt.settings import KINDS, shown
from tests import structure_rules as rules

_ROOT = Path(__file__).parent.parent
SOURCES = rules.modules(_ROOT)
ALL = rules.modules(_ROOT, (*rules.PRODUCT, "tests", "loadtests"))


@cache
def _climbing() -> list[str]:
    return rules.climbing(_ROOT)


def plant(root: Path, **files: str) -> None:
    """Writes modules (`linkjolt__storage__redis` is linkjolt/storage/redis.py) under a root."""
    for name, text in files.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_climb_to_no_higher_floor(module: str) -> None:
    assert not [arrow for arrow in _climbing() if arrow.startswith(f"{module} ->")]


def test_modules_import_each_other_in_no_circle() -> None:
    assert rules.circles(_ROOT) == []


@pytest.mark.parametrize("module", ALL)
def test_files_and_functions_are_short(module: str) -> None:
    assert rules.too_long(ALL[module], module) == []


def test_folders_have_few_files() -> None:
    assert rules.full_folders(_ROOT, rules.PRODUCT, rules.PRODUCT_FILES_MAX) == []
    assert rules.full_folders(_ROOT, ("tests", "loadtests"), rules.OTHER_FILES_MAX) == []


@pytest.mark.parametrize("module", SOURCES)
def test_names_say_what_a_thing_is(module: str) -> None:
    assert list(rules.misnamed(SOURCES[module], module)) == []


@pytest.mark.parametrize("module", SOURCES)
def test_every_module_begins_with_a_sentence_about_its_work(module: str) -> None:
    assert rules.has_good_docstring(SOURCES[module])


def test_no_two_classes_share_a_name() -> None:
    assert rules.shared_class_names(_ROOT) == {}


def test_the_old_dialect_is_gone() -> None:
    assert len(rules.dialect(_ROOT)) <= 5


def test_a_planted_climb_is_found(tmp_path: Path) -> None:
    plant(
        tmp_path,
        linkjolt__storage__redis="from linkjolt.web import server\n",
        linkjolt__web__server="import linkjolt.storage.redis\n",
        ingest__app="from linkjolt.api.links import a\n",
        linkjolt__api__links="def f():\n    import ingest.app\n",
        reports__app="from ingest.app import x\n",
        linkjolt__up__up="from ingest import app\nfrom reports import app as other\n",
        linkjolt__money="import linkjolt.position\n",
        linkjolt__position="from linkjolt.up.up import up\n",
    )
    assert rules.climbing(tmp_path) == [
        "linkjolt.api.links -> ingest.app",
        "linkjolt.position -> linkjolt.up.up",
        "linkjolt.storage.redis -> linkjolt.web.server",
        "reports.app -> ingest.app",
    ]


def test_a_package_on_no_floor_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, linkjolt__attic__old="import linkjolt.money\n", linkjolt__money="")
    with pytest.raises(LookupError, match=r"linkjolt\.attic\.old is on no floor"):
        rules.climbing(tmp_path)


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    plant(
        tmp_path,
        ingest__a="from ingest.b import x\n",
        ingest__b="from ingest import c\n",
        ingest__c="def f():\n    import ingest.a\n",
        ingest__d="import ingest.a\n",
    )
    assert rules.circles(tmp_path) == [["ingest.a", "ingest.b", "ingest.c"]]


def test_planted_sizes_are_found(tmp_path: Path) -> None:
    lines = "x = 1\n"
    plant(
        tmp_path,
        ingest__short=lines * 400,
        ingest__long=lines * 401,
        ingest__functions="def f():\n" + "    x = 1\n" * 39 + "def g():\n" + "    x = 1\n" * 40,
    )
    plant(tmp_path, **{f"reports__m{number}": "" for number in range(17)})
    found = rules.modules(tmp_path, ("ingest",))
    long = [line for name, path in found.items() for line in rules.too_long(path, name)]
    assert long == ["ingest.functions.g: 41", "ingest.long: 401"]
    assert rules.full_folders(tmp_path, rules.PRODUCT, 16) == ["reports: 17"]


def test_planted_names_and_docstrings_are_found(tmp_path: Path) -> None:
    plant(
        tmp_path,
        ingest__utils='"""Reads."""\nclass LinkManager: ...\n',
        ingest__a='"""What a link is."""\nclass Link: ...\n',
        ingest__b="class Link: ...\n# a listener is told\n",
    )
    found = rules.modules(tmp_path)
    wrong = [line for name, path in found.items() for line in rules.misnamed(path, name)]
    assert wrong == ["ingest.utils", "ingest.utils.LinkManager"]
    assert rules.shared_class_names(tmp_path) == {"Link": ["ingest.a", "ingest.b"]}
    assert [name for name in found if rules.has_good_docstring(found[name])] == ["ingest.utils"]
    assert rules.dialect(tmp_path) == ["ingest/b.py:2"]


@pytest.mark.parametrize("folder", ["system", "docs", "money"])
def test_tests_from_outside_import_nothing_of_the_application(folder: str) -> None:
    paths = sorted((_ROOT / "tests" / folder).rglob("*.py"))
    assert paths
    assert not [path.name for path in paths if rules.imports(rules.parse(path), SOURCES)]


@pytest.mark.parametrize("module", ALL)
def test_no_import_is_relative(module: str) -> None:
    nodes = ast.walk(rules.parse(ALL[module]))
    assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]


def test_log_events_are_lower_case_phrases() -> None:
    found = {event for path in SOURCES.values() for event in rules.log_events(path)}
    assert len(found) > 30
    assert not [event for event in found if not re.fullmatch(r"[a-z][a-z0-9 ,'.:-]*", event)]


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
