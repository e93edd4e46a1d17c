"""Each fact of a conversion becomes the events from which a receiver knows its present state."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from ingest.conversions.decision import initial_state
from linkjolt.conversions.adjustment_kinds import AdjustmentRequest, Payee
from linkjolt.conversions.ledger import apply_adjustment
from linkjolt.datasets import Account, live_dataset
from linkjolt.events import Adjustment, AdjustmentKind, Conversion, ConversionState
from linkjolt.money import Percentage
from linkjolt.registry.entries import Webhook, WebhookSecret
from linkjolt.webhooks.events import (
    EVENT_TYPES,
    WebhookEvent,
    events_of_fact,
    is_subscribed,
    webhook_id,
)

NOW_MS = 1_800_000_000_000
RULE = Percentage(rate=Decimal(30))
ACCOUNT = live_dataset(Account(1))


def conversion(**fields: Any) -> Conversion:
    return Conversion(
        conversion_id="conv_1",
        account=ACCOUNT,
        event="sale",
        time_ms=NOW_MS,
        currency="USD",
        order_value_minor=10_000,
        commission_minor=fields.pop("commission_minor", 3_000),
        status="pending",
        attribution=fields.pop("attribution", "click"),
        order_id="order_1",
        campaign=fields.pop("campaign", 2),
        affiliate=fields.pop("affiliate", 3),
        rule=1,
        **fields,
    )


def adjust(
    state: ConversionState, *steps: tuple[AdjustmentKind, dict[str, Any]]
) -> tuple[ConversionState, list[Adjustment]]:
    """Applies adjustments in turn; returns the state after them, and their facts."""
    facts: list[Adjustment] = []
    for number, (kind, fields) in enumerate(steps):
        request = AdjustmentRequest(
            adjustment_id=f"adj_{number}", kind=kind, author="key_1", reason="so", **fields
        )
        state, fact = apply_adjustment(state, request, RULE, NOW_MS + number + 1)
        facts.append(fact)
    return state, facts


def webhook(**fields: Any) -> Webhook:
    return Webhook(
        number=1,
        account=ACCOUNT,
        url="https://shop.example/",
        events=EVENT_TYPES,
        secrets=(WebhookSecret("whsec_"),),
        created_at=datetime(2020, 1, 1, tzinfo=UTC),
        **fields,
    )


def data_of(event: WebhookEvent) -> dict[str, Any]:
    body = msgspec.json.decode(event.body)
    assert body["event"] == event.type
    return body["data"]


STEPS: Sequence[tuple[AdjustmentKind, dict[str, Any]]] = (
    ("restated", {"order_value_minor": 20_000}),
    ("refunded", {"amount_minor": 5_000}),
    ("reinstated", {"amount_minor": 1_000}),
    ("approved", {}),
    ("paid", {}),
    ("unpaid", {}),
    ("rejected", {}),
)


def test_every_change_is_an_event_with_its_number_and_the_state_after_it() -> None:
    made = conversion()
    _, facts = adjust(initial_state(made), *STEPS)
    events = [event for fact in (made, *facts) for event in events_of_fact(fact)]
    kinds = [kind for kind, _ in STEPS]
    assert [event.type for event in events] == [
        "conversion.created",
        *(f"conversion.{kind}" for kind in kinds),
    ]
    named = ("order_value", "net_value", "commission_amount", "status", "payout", "sequence")
    assert [tuple(data_of(event)[name] for name in named) for event in events] == [
        (100.0, 100.0, 30.0, "pending", "unpaid", 1),
        (200.0, 200.0, 60.0, "pending", "unpaid", 2),
        (200.0, 150.0, 45.0, "pending", "unpaid", 3),
        (200.0, 160.0, 48.0, "pending", "unpaid", 4),
        (200.0, 160.0, 48.0, "approved", "unpaid", 5),
        (200.0, 160.0, 48.0, "approved", "paid", 6),
        (200.0, 160.0, 48.0, "approved", "unpaid", 7),
        (200.0, 0.0, 0.0, "rejected", "unpaid", 8),
    ]
    changes = ("order_value_change", "net_value_change", "commission_change")
    assert [
        tuple(data_of(event)["adjustment"][name] for name in changes) for event in events[1:]
    ] == [
        (100.0, 100.0, 30.0),
        (0.0, -50.0, -15.0),
        (0.0, 10.0, 3.0),
        (0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0),
        (0.0, -160.0, -48.0),
    ]
    assert len({webhook_id(event, 1) for event in events}) == len(events)


def test_the_least_value_is_judged_by_the_value_at_creation() -> None:
    made = conversion()
    _, facts = adjust(
        initial_state(made),
        ("refunded", {"amount_minor": 3_000}),
        ("refunded", {"amount_minor": 6_999}),
        ("rejected", {}),
        ("approved", {}),
        ("restated", {"order_value_minor": 9_999}),
    )
    for least, wanted in ((100, True), (Decimal("100.01"), False)):
        hook = webhook(min_value=Decimal(least))
        events = [event for fact in (made, *facts) for event in events_of_fact(fact)]
        assert len(events) == 6
        assert {is_subscribed(hook, event, NOW_MS) for event in events} == {wanted}


def test_an_adjustment_of_an_earlier_release_is_judged_by_its_gross_value() -> None:
    _, [fact] = adjust(initial_state(conversion()), ("refunded", {"amount_minor": 9_000}))
    [event] = events_of_fact(msgspec.structs.replace(fact, sequence=0, created_value_minor=None))
    assert is_subscribed(webhook(min_value=Decimal(100)), event, NOW_MS)
    assert data_of(event)["sequence"] is None
    assert data_of(event)["adjustment"]["order_value_change"] == 0.0


def test_a_conversion_that_changes_hands_concerns_both_affiliates_and_campaigns() -> None:
    made = conversion(attribution="none", affiliate=0, campaign=0, commission_minor=0)
    first_payee = Payee(campaign=5, affiliate=6, rule=1)
    second_payee = Payee(campaign=7, affiliate=8, rule=1)
    _, facts = adjust(
        initial_state(made),
        ("attributed", {"payee": first_payee}),
        ("attributed", {"payee": second_payee}),
    )
    [first], [second] = map(events_of_fact, facts)
    assert first.type == second.type == "conversion.attributed"
    assert data_of(second)["affiliate_id"] == "aff_8"
    for fields, wanted in (
        ({"affiliates": (6,)}, (True, True)),
        ({"affiliates": (8,)}, (False, True)),
        ({"campaigns": (5,)}, (True, True)),
        ({"campaigns": (7,)}, (False, True)),
        ({"affiliates": (9,)}, (False, False)),
    ):
        hook = webhook(**fields)
        assert tuple(is_subscribed(hook, event, NOW_MS) for event in (first, second)) == wanted


def test_an_unverified_conversion_has_no_event_until_something_verifies_it() -> None:
    made = conversion(verified=False, hand="pixel", commission_minor=0)
    assert not events_of_fact(made)
    state, [refund, approval] = adjust(
        initial_state(made), ("refunded", {"amount_minor": 1_000}), ("approved", {})
    )
    assert not events_of_fact(refund)
    created, approved = events_of_fact(approval)
    assert (created.type, approved.type) == ("conversion.created", "conversion.approved")
    # Under the id that a conversion's creation always has.
    [usual] = events_of_fact(conversion())
    assert webhook_id(created, 1) == webhook_id(usual, 1)
    data = data_of(created)
    assert (data["sequence"], data_of(approved)["sequence"]) == (1, 3)
    assert data["timestamp"] == data_of(usual)["timestamp"]
    assert (data["net_value"], data["commission_amount"]) == (90.0, 27.0)
    assert "adjustment" not in data
    _, [rejection] = adjust(state, ("rejected", {}))
    assert [event.type for event in events_of_fact(rejection)] == ["conversion.rejected"]


@pytest.mark.parametrize("verified", [True, False])
def test_a_conversion_whose_order_another_one_takes_is_rejected_if_it_was_ever_told(
    verified: bool,
) -> None:
    state = initial_state(conversion(verified=verified, hand="pixel"))
    _, [fact] = adjust(state, ("superseded", {}))
    assert [event.type for event in events_of_fact(fact)] == ["conversion.rejected"] * verified


def test_a_conversion_that_was_refused_later_has_no_event() -> None:
    assert not events_of_fact(conversion(refused="duplicate"))
