"""What the warehouse holds of the conversions and adjustments of a batch."""

from collections.abc import Mapping

from aggregator.rows.conversions import Events, Known, adjustments_in, conversions_in
from aggregator.rows.rows import ClickRow
from aggregator.warehouse.writer import Warehouse


async def read_known(
    warehouse: Warehouse, facts: Events, doubtful: Events, clicks: Mapping[str, ClickRow]
) -> Known:
    """`doubtful` are those facts whose own ids are looked up, for they may be stored already."""
    made = [conversion for _, conversion in conversions_in(facts)]
    orders = await warehouse.orders(
        {conversion.account for conversion in made},
        {conversion.order_id for conversion in made if conversion.order_id},
        {conversion.conversion_id for _, conversion in conversions_in(doubtful)},
    )
    return Known(clicks, orders, await warehouse.facts(adjustments_in(facts)))


def held_in(known: Known) -> set[str]:
    """The conversion and adjustment ids that are stored."""
    adjusted = {row.adjustment_id for row in known.facts}
    return {order.conversion_id for order in known.orders} | adjusted
