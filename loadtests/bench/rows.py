"""What a bench says: rows with a target, a figure and a verdict; the arithmetic of pairs."""

import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

# `shown` is a figure without a budget; `skipped` says in the detail what was missing.
Verdict = Literal["pass", "fail", "shown", "skipped"]


class BenchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the results; `detail` are lines of text, each turn's figures among them."""

    name: str
    target: str
    figure: str
    verdict: Verdict
    detail: tuple[str, ...] = ()


class FigurePair(msgspec.Struct, frozen=True):
    """Two turns, one after the other, in the same unit."""

    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs if self.theirs else 0.0


def median_ratio(pairs: Sequence[FigurePair]) -> float:
    """The median of the pairs' ratios: what changed between pairs touches both sides of one."""
    return statistics.median(pair.ratio for pair in pairs)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def describe_spread(values: Sequence[float], unit: str, digits: int = 0) -> str:
    """`median 5,812/s (5,601 to 6,020)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"median {middle:,.{digits}f}{unit} ({low:,.{digits}f} to {high:,.{digits}f})"


def judge(met: bool, problems: Sequence[str]) -> Verdict:
    """A problem fails a row whatever its figure."""
    return "pass" if met and not problems else "fail"


def table(rows: Sequence[BenchRow]) -> str:
    """The rows as a Markdown table with aligned columns, which reads well on a terminal too."""
    cells = [("what", "target", "figure", "verdict")]
    cells += [(row.name, row.target, row.figure, row.verdict.upper()) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
