"""The NDJSON client posts distinct orders and counts every line, also in a real turn."""

import msgspec
import pytest

from loadtests.bench.lineloop import SIZES, BodyGenerator, LineCounts
from loadtests.bench.lines import saturating_lines
from loadtests.bench.peers.linkjolt_peer import EDGE_CONVERSIONS
from loadtests.bench.plan import BenchPlan
from loadtests.bench.turn import take_turn
from tests.bench.test_turn import plan

__all__ = ["plan"]


class Sale(msgspec.Struct, forbid_unknown_fields=True):
    tracking_code: str
    order_value: float
    order_id: str
    customer_email: str


def test_every_line_of_all_bodies_is_an_order_of_its_own() -> None:
    bodies = BodyGenerator("code", "prefix")
    made = [bodies.next_body() for _ in range(2 * len(SIZES))]
    sales = [msgspec.json.decode(line, type=Sale) for _, body in made for line in body.splitlines()]
    assert [size for size, _ in made] == [*SIZES, *SIZES]
    assert len({sale.order_id for sale in sales}) == len(sales) == 2 * sum(SIZES)
    assert {sale.tracking_code for sale in sales} == {"code"}


@pytest.mark.parametrize(
    ("others", "refused", "problems"),
    [
        (0, 0, []),
        (7, 0, ["7 lines that were not taken"]),
        (1_000, 1, ["1,000 lines that were not taken", "1 bodies refused"]),
    ],
)
def test_lines_that_were_not_taken_are_reported(
    others: int, refused: int, problems: list[str]
) -> None:
    lines = LineCounts(
        created=2_000, queued=1_000, not_taken=others, bodies=3, refused=refused, seconds=2
    )
    assert lines.per_second == 1_500
    assert lines.problems() == problems


@pytest.mark.long
def test_every_line_that_was_taken_leaves_one_event(plan: BenchPlan) -> None:
    turn = take_turn(plan, EDGE_CONVERSIONS, "everysec", saturating_lines)
    assert turn.problems == ()
    assert turn.figure > 0
