"""Every declared metric is recorded by its process and described by a sentence."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_PROCESSES = ("ingest", "aggregator", "reports", "outbound", "linkjolt/web", "linkjolt/auth")
_TYPES = {"Counter", "Gauge", "Histogram", "Summary"}
# `labels` too: its child may be stored and recorded later.
_RECORDING = {"inc", "dec", "set", "set_function", "observe", "time", "labels"}


def declared(process: str) -> dict[str, ast.Call]:
    """The declarations in a process's `metrics.py`, by the name of their constant."""
    found: dict[str, ast.Call] = {}
    for node in ast.parse((_ROOT / process / "metrics.py").read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
                if isinstance(call.func, ast.Name) and call.func.id in _TYPES:
                    found[name] = call
            case _:
                pass
    return found


def recorded(process: str) -> Iterator[str]:
    """The constants on which a recording method is called."""
    for path in (_ROOT / process).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Attribute(value=ast.Name(id="metrics"), attr=name), attr=method
                    )
                ) if method in _RECORDING:
                    yield name
                case _:
                    pass


@pytest.mark.parametrize("process", _PROCESSES)
def test_every_declared_metric_is_recorded_by_its_process(process: str) -> None:
    assert declared(process).keys() == {*recorded(process)}


@pytest.mark.parametrize("process", _PROCESSES)
def test_every_metric_is_described_by_a_sentence(process: str) -> None:
    texts = {name: ast.literal_eval(call.args[1]) for name, call in declared(process).items()}
    assert texts
    assert not {name: text for name, text in texts.items() if not re.fullmatch("[A-Z].*\\.", text)}
