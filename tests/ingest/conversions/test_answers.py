"""A conversion's answer is valid JSON, whatever the sender wrote into it."""

import json
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from linkjolt.conversions.answer import answer
from linkjolt.events import ConversionState
from linkjolt.money import CURRENCIES, to_major

_STATES = st.builds(
    ConversionState,
    conversion_id=st.just("conv_01M836R6CD00095G84DAX9N75Y"),
    account=st.just(1),
    event=st.sampled_from(["sale", "own_event"]),
    time_ms=st.integers(946_684_800_000, 4_000_000_000_000),
    currency=st.sampled_from(sorted(CURRENCIES)),
    order_value_minor=st.integers(0, 10**15),
    commission_minor=st.integers(0, 10**15),
    refundable_minor=st.integers(0, 10**15),
    status=st.sampled_from(["pending", "approved", "rejected"]),
    attribution=st.sampled_from(["click", "tracking_code", "none"]),
    reason=st.sampled_from(["", "click_forged"]),
    order_id=st.text(max_size=20),
    campaign=st.integers(0, 9),
    affiliate=st.integers(0, 9),
    click_id=st.sampled_from(["", "38G6DGCQM00000400G029SGT1X"]),
    commission_reason=st.sampled_from(["", "not_first_order"]),
)


@settings(deadline=None)
@given(_STATES, st.booleans(), st.sampled_from(["", "queued"]))
def test_an_answer_tells_the_state_exactly(
    state: ConversionState, duplicate: bool, status: str
) -> None:
    read = json.loads(answer(state, duplicate=duplicate, status=status), parse_float=Decimal)
    instant = datetime.fromisoformat(read.pop("timestamp"))
    assert instant == datetime.fromtimestamp(state.time_ms / 1000, UTC)
    net_minor = 0 if state.status == "rejected" else state.refundable_minor
    assert read == {
        "conversion_id": state.conversion_id,
        "status": status or state.status,
        "event": state.event,
        "order_id": state.order_id or None,
        "affiliate_id": f"aff_{state.affiliate}" if state.affiliate else None,
        "campaign_id": f"cmp_{state.campaign}" if state.campaign else None,
        "click_id": state.click_id or None,
        "order_value": to_major(state.order_value_minor, state.currency),
        "net_value": to_major(net_minor, state.currency),
        "commission_amount": to_major(state.commission_minor, state.currency),
        "commission_reason": state.commission_reason or None,
        "currency": state.currency,
        "attribution": {"method": state.attribution, "reason": state.reason or None},
        "duplicate": duplicate,
    }
