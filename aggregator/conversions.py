"""What a batch of conversions comes to: rows, rejects, and where it must wait for clicks; pure."""

from collections.abc import Mapping, Sequence

import msgspec

from aggregator.batches import Line, Reject, reject
from aggregator.enrich import conversion_row
from aggregator.rows import ClickRow, ConversionRow
from aggregator.warehouse import Order
from linkjolt.errors import Reason
from linkjolt.events import Conversion

Events = Sequence[tuple[Line, Conversion]]


class Known(msgspec.Struct, frozen=True):
    """What the warehouse already holds of a batch."""

    clicks: Mapping[str, ClickRow]
    orders: Sequence[Order]


def first_waiting(events: Events, clicks: Mapping[str, ClickRow], sure_until_ms: int) -> int | None:
    """The position of the first conversion whose click may still come; None where none waits.

    Below `sure_until_ms` every click that came before its conversion is stored: what is missing
    there stays missing.
    """
    for line, conversion in events:
        missing = conversion.click_id and conversion.click_id not in clicks
        if missing and line.pos >> 20 >= sure_until_ms:
            return line.pos
    return None


def conversion_rows(
    events: Events, s: int, known: Known
) -> tuple[list[ConversionRow], list[Reject]]:
    """The rows of new conversions; rejects for those whose order or id is stored already."""
    orders = {(o.account, o.event, o.order_id): o.conversion_id for o in known.orders if o.order_id}
    stored = {order.conversion_id for order in known.orders}
    rows: list[ConversionRow] = []
    rejects: list[Reject] = []
    for line, conversion in events:
        key = (conversion.account, conversion.event, conversion.order_id)
        if conversion.refused:
            message = f"queued while Redis was away, then found to be a {conversion.refused}"
            reason = Reason.repeated_order
            rejects.append(reject(line, s, conversion.account, reason, message))
            continue
        if conversion.conversion_id in stored:
            message = "the conversion is stored already"
            reason = Reason.repeated_event
            rejects.append(reject(line, s, conversion.account, reason, message))
            continue
        if conversion.order_id and key in orders:
            message = f"the order is stored already as {orders[key]}"
            reason = Reason.repeated_order
            rejects.append(reject(line, s, conversion.account, reason, message))
            continue
        if conversion.order_id:
            orders[key] = conversion.conversion_id
        stored.add(conversion.conversion_id)
        click = known.clicks.get(conversion.click_id)
        late = bool(conversion.click_id) and click is None
        rows.append(conversion_row(conversion, click, s=s, pos=line.pos, click_late=late))
    return rows, rejects
