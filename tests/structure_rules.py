"""Rules of the source's structure, as functions of a source tree: floors, circles, sizes, names."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PROCESSES = ("ingest", "aggregator", "reports", "outbound")
# Lowest first. A module imports only from its own floor or from those below it; a process never
# imports another one.
FLOORS: Sequence[tuple[str, ...]] = (
    ("linkjolt",),
    ("linkjolt.storage",),
    ("linkjolt.runtime",),
    ("linkjolt.balance",),
    ("linkjolt.audit_log",),
    ("linkjolt.registry",),
    ("linkjolt.web",),
    ("linkjolt.clicks",),
    ("linkjolt.directory",),
    ("linkjolt.webhooks",),
    ("linkjolt.privacy",),
    ("linkjolt.auth",),
    ("linkjolt.conversions",),
    ("linkjolt.api",),
    PROCESSES,
    ("linkjolt.up",),
    ("linkjolt.cli", "linkjolt.__main__"),
)
PRODUCT = ("linkjolt", *PROCESSES)
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 40
PRODUCT_FILES_MAX = 16
OTHER_FILES_MAX = 32
_RESERVED_CLASS = re.compile(r"(Manager|Handler|Helper|Service|Base|Impl)(?![a-z])")
_RESERVED_MODULES = {"utils", "util", "common", "helpers", "misc", "data", "process"}
_FIRST_WORDS = ("What", "Which", "How", "Who", "Where")
_LEVELS = ("debug", "info", "warning", "error", "exception")
_DIALECT = re.compile(r"is told|are told|comes to")


def module_name(root: Path, path: Path) -> str:
    """Dotted name of a source file under a root; a package has its own."""
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    return name.removesuffix(".__init__")


def modules(root: Path, packages: Sequence[str] = PRODUCT) -> dict[str, Path]:
    """Finds every module of the packages by its dotted name."""
    found = [path for package in packages for path in sorted((root / package).rglob("*.py"))]
    return {module_name(root, path): path for path in found}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST, known: Mapping[str, object]) -> set[str]:
    """Finds the modules among the known ones that a module imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = node.module or ""
            members = {f"{package}.{alias.name}" for alias in node.names}
            found |= {member if member in known else package for member in members}
    return found & known.keys()


def floor_of(module: str) -> int:
    """The floor of a module by its longest prefix: 0 is the lowest."""
    names = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix == "linkjolt" and length == 1 and len(parts) > 2:
            break
        if prefix in names:
            return names[prefix]
    raise LookupError(f"{module} is on no floor")


def climbing(root: Path) -> list[str]:
    """Lists the imports that climb to a higher floor, or lead from one process into another."""
    found = modules(root)
    wrong: list[str] = []
    for name, path in found.items():
        for target in sorted(imports(parse(path), found)):
            across = name.split(".")[0] != target.split(".")[0]
            same = floor_of(target) == floor_of(name)
            if floor_of(target) > floor_of(name) or (same and across):
                wrong.append(f"{name} -> {target}")
    return wrong


def circles(root: Path) -> list[list[str]]:
    """Lists groups of modules that import each other in a circle (Tarjan's components)."""
    found = modules(root)
    graph = {name: imports(parse(path), found) - {name} for name, path in found.items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            at = stack.index(name)
            groups.append(sorted(stack[at:]))
            del stack[at:]

    for name in graph:
        if name not in index:
            visit(name)
    return [group for group in groups if len(group) > 1]


def too_long(path: Path, module: str) -> list[str]:
    """Lists a module with too many lines, and its functions with too many."""
    text = path.read_text(encoding="utf-8")
    lengths = [(module, len(text.splitlines()), FILE_LINES_MAX)]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            lengths.append((f"{module}.{node.name}", length, FUNCTION_LINES_MAX))
    return [f"{name}: {length}" for name, length, allowed in lengths if length > allowed]


def full_folders(root: Path, packages: Sequence[str], files_max: int) -> list[str]:
    """Lists the folders with too many files; what tools leave behind does not count."""
    counts: Counter[Path] = Counter(
        path.parent
        for package in packages
        for path in (root / package).rglob("*")
        if path.is_file() and not {"__pycache__", "screenshots"} & {*path.parts}
    )
    return [
        f"{folder.relative_to(root)}: {count}"
        for folder, count in sorted(counts.items())
        if count > files_max
    ]


def shared_class_names(root: Path) -> dict[str, list[str]]:
    """Finds the class names that several classes of the product have."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, path in modules(root).items():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    return {name: where for name, where in places.items() if len(where) > 1}


def misnamed(path: Path, module: str) -> Iterator[str]:
    """Yields the module and its classes whose names say nothing."""
    if path.stem in _RESERVED_MODULES:
        yield module
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ClassDef) and _RESERVED_CLASS.search(node.name):
            yield f"{module}.{node.name}"


def has_good_docstring(path: Path) -> bool:
    """True for a module with a docstring that does not begin with a question word."""
    text = ast.get_docstring(parse(path)) or ""
    return bool(text) and not text.startswith(_FIRST_WORDS)


def dialect(root: Path, packages: Sequence[str] = PRODUCT) -> list[str]:
    """Lists the lines of the product that use its old private dialect."""
    return [
        f"{path.relative_to(root)}:{number}"
        for package in packages
        for path in sorted((root / package).rglob("*"))
        if path.suffix in {".py", ".sql", ".lua", ".js"} and "vendor" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _DIALECT.search(line)
    ]


def log_events(path: Path) -> Iterator[str]:
    """Yields the events that a module logs."""
    for node in ast.walk(parse(path)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log" | "_log"), attr=level),
                args=[ast.Constant(value=str(event)), *_],
            ) if level in _LEVELS:
                yield event
            case _:
                pass
