"""A conversion is answered with its totals, and with a history of bounded length."""

import json
from decimal import Decimal
from typing import Any

import msgspec

from linkjolt.conversions.adjustment_kinds import AdjustmentRequest
from linkjolt.conversions.history import HISTORY_MAX, adjusted_answer, read_answer
from linkjolt.conversions.ledger import apply_adjustment
from linkjolt.events import ConversionState
from tests.linkjolt.conversions.test_ledger import NOW_MS, RULE, a_request, a_state, adjusted


def answered(state: ConversionState) -> dict[str, Any]:
    return json.loads(read_answer(state), parse_float=Decimal)


def changed(state: ConversionState, times: int) -> ConversionState:
    """Rejects and approves in turn."""
    for number in range(times):
        kind = "approved" if number % 2 else "rejected"
        state, _ = apply_adjustment(state, a_request(kind, f"a{number}"), RULE, NOW_MS + number)
    return state


def test_what_was_paid_and_is_not_earned_is_answered_as_owed_back() -> None:
    paid = adjusted(a_state(), a_request("approved"), a_request("paid", "b"))
    assert answered(paid)["clawback"] == 0
    read = answered(adjusted(paid, a_request("refunded", "c", amount_minor=4999)))
    values = {name: read[name] for name in ("order_value", "net_value", "commission_amount")}
    assert values == {
        "order_value": Decimal("99.99"),
        "net_value": Decimal("50.00"),
        "commission_amount": Decimal("15.00"),
    }
    assert (read["refunded"], read["clawback"]) == (Decimal("49.99"), Decimal("14.99"))


def test_a_rejected_conversion_has_a_gross_value_and_no_net_value() -> None:
    read = answered(adjusted(a_state(), a_request("rejected")))
    assert (read["order_value"], read["net_value"]) == (Decimal("99.99"), 0)


def test_what_is_known_of_a_conversion_is_answered() -> None:
    state = a_state(
        verified=False,
        commission_reason="unverified",
        rate="1 JPY = 0.0067 USD",
        notes=["bad_email"],
    )
    read = answered(state)
    assert (read["verified"], read["commission_reason"]) == (False, "unverified")
    rate = read["rate"], read["rate_from"], read["rate_to"]
    assert (rate, read["notes"]) == ((Decimal("0.0067"), "JPY", "USD"), ["bad_email"])
    plain = answered(a_state())
    assert (plain["verified"], plain["commission_reason"], plain["rate"]) == (True, None, None)


def test_the_newest_thousand_entries_are_answered() -> None:
    whole = changed(a_state(), HISTORY_MAX - 1)
    read = answered(whole)
    assert read["history_length"] == len(read["history"]) == HISTORY_MAX
    assert read["history"][0]["kind"] == "created"
    longer = changed(a_state(), HISTORY_MAX + 500)
    read = answered(longer)
    assert (read["history_length"], len(read["history"])) == (HISTORY_MAX + 501, HISTORY_MAX)
    assert read["history"][0]["adjustment_id"] == "a500"
    assert read["history"][-1]["adjustment_id"] == f"a{HISTORY_MAX + 499}"


def test_one_of_many_results_has_no_history() -> None:
    request: AdjustmentRequest = a_request("refunded", amount_minor=10)
    state = adjusted(a_state(), request)
    entry = state.history[-1]
    short = adjusted_answer(state, entry, repeated=False, with_history=False)
    conversion = msgspec.json.decode(short)["conversion"]
    assert conversion == {
        name: value
        for name, value in msgspec.json.decode(read_answer(state)).items()
        if not name.startswith("history")
    }
