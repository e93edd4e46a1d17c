"""Corrects the engine's estimate of unique clicks, too high where it leaves linear counting."""

from bisect import bisect_right
from itertools import pairwise

# Estimates of uniqCombined64(16) and the mean number of visitors that yield them, 400 trials each.
# Below and above it is unbiased (Heule, Nunkesser, Hall: HyperLogLog in Practice, 2013, 5.2).
_MEASURED = (
    (163_840, 159_600),
    (165_151, 161_000),
    (166_071, 162_000),
    (167_926, 164_000),
    (171_621, 168_000),
    (175_358, 172_000),
    (179_107, 176_000),
    (182_872, 180_000),
    (186_616, 184_000),
    (194_210, 192_000),
    (201_861, 200_000),
    (213_432, 212_000),
    (225_087, 224_000),
    (240_713, 240_000),
    (260_467, 260_000),
    (280_285, 280_000),
    (320_000, 320_000),
)
# The verdicts of humans: unique clicks are counted among these.
HUMAN_VERDICTS_SQL = "('human', 'duplicate')"
_ESTIMATES = tuple(estimate for estimate, _ in _MEASURED)
_LINES = tuple(pairwise(_MEASURED))


def correct_estimate(estimate: int) -> int:
    """Interpolates the number of visitors between measured estimates."""
    if not _ESTIMATES[0] < estimate < _ESTIMATES[-1]:
        return estimate
    (low, fewer), (high, more) = _LINES[bisect_right(_ESTIMATES, estimate) - 1]
    return fewer + round((estimate - low) * (more - fewer) / (high - low))


def correct_estimate_sql(estimate: str) -> str:
    """Writes `correct_estimate` in SQL, exact to 1; `estimate` is an expression, a UInt64."""
    # Each segment adds the part of it that is below the estimate.
    widths = [high - low for (low, _), (high, _) in _LINES]
    slopes = [(more - few) / (high - low) for (low, few), (high, more) in _LINES]
    added = (
        f"arraySum((low, width, slope) -> least(greatest({estimate} - low, 0), width) * slope,"
        f" {list(_ESTIMATES[:-1])}, {widths}, {slopes})"
    )
    inside = f"{estimate} > {_ESTIMATES[0]} AND {estimate} < {_ESTIMATES[-1]}"
    return f"toUInt64(if({inside}, {_MEASURED[0][1]} + round({added}), {estimate}))"
