"""Declares result rows with target, figure and verdict, and computes ratios of pairs."""

import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

# `shown` is a figure without a budget; the detail of `skipped` names the missing tools.
Verdict = Literal["pass", "fail", "shown", "skipped"]


class BenchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the results; `detail` are lines of text that include each turn's figures."""

    name: str
    target: str
    figure: str
    verdict: Verdict
    detail: tuple[str, ...] = ()


class FigurePair(msgspec.Struct, frozen=True):
    """The figures of two consecutive turns, in the same unit."""

    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs if self.theirs else 0.0


def median_ratio(pairs: Sequence[FigurePair]) -> float:
    """Returns the median of the pairs' ratios: a change between pairs affects both sides."""
    return statistics.median(pair.ratio for pair in pairs)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def describe_spread(values: Sequence[float], unit: str, digits: int = 0) -> str:
    """Formats median and range: `median 5,812/s (5,601 to 6,020)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"median {middle:,.{digits}f}{unit} ({low:,.{digits}f} to {high:,.{digits}f})"


def judge(met: bool, problems: Sequence[str]) -> Verdict:
    """Returns the verdict; any problem fails a row whatever its figure."""
    return "pass" if met and not problems else "fail"


def table(rows: Sequence[BenchRow]) -> str:
    """Formats rows as an aligned Markdown table, which also reads well on a terminal."""
    cells = [("what", "target", "figure", "verdict")]
    cells += [(row.name, row.target, row.figure, row.verdict.upper()) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
