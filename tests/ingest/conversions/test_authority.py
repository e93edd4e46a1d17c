"""No hand takes an order from a stronger one, and the strongest takes it from all others."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count

import httpx2
import pytest

from linkjolt.conversions.ledger import effect_of
from linkjolt.conversions.reservations import StoredReservation, find_reservation
from linkjolt.events import Adjustment, Conversion, ConversionState, Effect
from tests.ingest.conftest import Shop, add_campaign, make_key
from tests.ingest.conversions.test_attribution import change_campaign
from tests.ingest.conversions.test_http import click_id as click_of_age

_ages = count(1_000, 1_000)
APPROVE = {"kind": "approve", "adjustment_id": "a"}


def click_id(shop: Shop) -> str:
    """Another click on the shop's link."""
    return click_of_age(shop, next(_ages))


async def pixel(shop: Shop, **parameters: str) -> None:
    answer = await shop.client.get("/p.gif", params=parameters)
    assert answer.headers["content-type"] == "image/gif"


async def postback(shop: Shop, key: str, **parameters: str) -> httpx2.Response:
    return await shop.client.get("/postback", params={"key": key, **parameters})


async def state_of(shop: Shop, conversion_id: str) -> ConversionState:
    stored = await find_reservation(shop.redis, 1, conversion_id)
    assert isinstance(stored, StoredReservation)
    return stored.reservation.state


async def sums(shop: Shop) -> Effect:
    """Adds up the effects of all facts, as the warehouse does."""
    total = dict.fromkeys(Effect.__struct_fields__, 0)
    for fact in await shop.facts():
        parts = (
            [(fact.effect, 1), (fact.taken or Effect(), -1)]
            if isinstance(fact, Adjustment)
            else [(effect_of(await first_state(shop, fact)), 1)]
        )
        for effect, sign in parts:
            for name in total:
                total[name] += sign * getattr(effect, name)
    return Effect(**total)


async def first_state(shop: Shop, conversion: Conversion) -> ConversionState:
    state = await state_of(shop, conversion.conversion_id)
    return state.first or state


async def test_a_campaign_takes_no_unsigned_pixel_unless_it_says_so(shop: Shop) -> None:
    await pixel(shop, click_id=click_id(shop), order_id="1", amount="5")
    assert await shop.facts() == []


async def test_an_unsigned_pixel_counts_only_as_unverified(shop: Shop) -> None:
    await change_campaign(shop, pixel="on")
    click = click_id(shop)
    for number in range(50):
        await pixel(shop, click_id=click, order_id=f"{number}", amount="9999", status="approved")
    [stored] = await shop.conversions()
    assert (stored.verified, stored.status, stored.commission_minor) == (False, "pending", 0)
    assert await sums(shop) == Effect(unverified=1)


@pytest.mark.parametrize(
    "claimed", [{"amount": "10000.01"}, {"amount": "5", "currency": "JPY"}, {"amount": "-5"}]
)
async def test_an_unsigned_pixel_claims_no_more_than_it_may(
    shop: Shop, claimed: dict[str, str]
) -> None:
    await change_campaign(shop, pixel="on")
    await pixel(shop, click_id=click_id(shop), order_id="1", **claimed)
    assert await shop.facts() == []


@pytest.mark.parametrize("duplicates", ["refuse", "update", "rebill", "allow"])
@pytest.mark.parametrize("pixel_first", [True, False])
async def test_a_keyed_post_takes_the_order_of_a_pixel(
    shop: Shop, duplicates: str, pixel_first: bool
) -> None:
    await change_campaign(shop, pixel="on", duplicates=duplicates, conversion_status="approved")
    claim = pixel(shop, click_id=click_id(shop), order_id="1005", amount="0.01")
    honest = {"click_id": click_id(shop), "order_id": "1005", "order_value": 100}
    if pixel_first:
        await claim
    answer = await shop.post({**honest, "timestamp": datetime.now(UTC).isoformat()})
    assert answer.status_code == 201, answer.text
    assert answer.json()["commission_amount"] == 30
    if not pixel_first:
        await claim
    assert await sums(shop) == Effect(
        conversions=1, approved=1, order_value_minor=10_000, commission_minor=3_000
    )
    evidence = [c for c in await shop.conversions() if not c.verified]
    assert [(await state_of(shop, c.conversion_id)).status for c in evidence] == ["rejected"]


async def test_a_keyed_postback_takes_the_order_of_a_pixel(shop: Shop) -> None:
    await change_campaign(shop, pixel="on")
    click = click_id(shop)
    await pixel(shop, click_id=click_id(shop), order_id="7", amount="0.01")
    answer = await postback(
        shop, shop.key, click_id=click, order_id="7", payout="100", status="approved"
    )
    assert answer.status_code == 200
    [claim, kept] = await shop.conversions()
    assert (claim.verified, kept.verified, kept.click_id) == (False, True, click)
    assert (await sums(shop)).commission_minor == 3_000


async def test_the_pixel_of_the_click_of_a_keyed_post_is_superseded(shop: Shop) -> None:
    await change_campaign(shop, pixel="on")
    click = click_id(shop)
    await pixel(shop, click_id=click, amount="100")
    await shop.post({"click_id": click, "order_id": "1", "order_value": 100})
    [claim, _] = await shop.conversions()
    assert (await state_of(shop, claim.conversion_id)).status == "rejected"
    await pixel(shop, click_id=click, order_id="2", amount="100")
    assert len(await shop.conversions()) == 2


async def test_approving_an_unverified_conversion_verifies_it(shop: Shop) -> None:
    await change_campaign(shop, pixel="on")
    await pixel(shop, click_id=click_id(shop), order_id="1", amount="100")
    [claim] = await shop.conversions()
    path = f"/v1/conversions/{claim.conversion_id}/adjustments"
    assert (await shop.post(APPROVE, path=path)).status_code == 201
    assert await sums(shop) == Effect(
        conversions=1, approved=1, order_value_minor=10_000, commission_minor=3_000
    )
    # Whoever has the key still has the last word about the order.
    answer = await shop.post({"click_id": click_id(shop), "order_id": "1", "order_value": 50})
    assert answer.status_code == 201
    assert await sums(shop) == Effect(
        conversions=1, pending=1, rejected=1, order_value_minor=5_000, commission_minor=1_500
    )


async def test_no_claim_is_verified_whose_order_has_another_conversion(shop: Shop) -> None:
    await change_campaign(shop, pixel="on")
    await pixel(shop, click_id=click_id(shop), order_id="1", amount="100")
    await change_campaign(shop, pixel="off")
    # No longer looked for, now that the campaign takes no pixels.
    await shop.post({"click_id": click_id(shop), "order_id": "1", "order_value": 50})
    [claim, _] = await shop.conversions()
    answer = await shop.post(APPROVE, path=f"/v1/conversions/{claim.conversion_id}/adjustments")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "kind")
    assert (await sums(shop)).order_value_minor == 5_000


async def test_a_network_blocks_no_order_of_the_merchant(shop: Shop) -> None:
    link = await add_campaign(shop)
    network = await make_key(shop.registry, ["postback"], campaign=link.campaign)
    await postback(shop, network, tracking_code=link.tracking_code, order_id="Z1", payout="5")
    answer = await shop.post({"click_id": click_id(shop), "order_id": "Z1", "order_value": 100})
    assert answer.status_code == 201
    [theirs, ours] = await shop.conversions()
    assert (theirs.all_notes, ours.all_notes) == ((), ("order_in_two_campaigns",))
    assert (await state_of(shop, ours.conversion_id)).all_notes == ("order_in_two_campaigns",)


async def test_the_merchant_takes_an_order_from_the_network_of_its_campaign(shop: Shop) -> None:
    network = await make_key(shop.registry, ["postback"], campaign=shop.link.campaign)
    click = click_id(shop)
    await postback(shop, network, click_id=click_id(shop), order_id="Z1", payout="5")
    answer = await shop.post({"click_id": click, "order_id": "Z1", "order_value": 100})
    assert (answer.status_code, answer.json()["click_id"]) == (201, click)
    assert await sums(shop) == Effect(
        conversions=1, pending=1, rejected=1, order_value_minor=10_000, commission_minor=3_000
    )
    # The network has no say in it any more.
    for status in ("rejected", "approved"):
        answer = await postback(
            shop, network, click_id=click, order_id="Z1", payout="5", status=status
        )
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "order_id")
    repeated = await shop.post({"click_id": click, "order_id": "Z1", "order_value": 100})
    assert (repeated.status_code, repeated.json()["duplicate"]) == (200, True)


async def test_of_many_posts_one_takes_the_order(shop: Shop) -> None:
    network = await make_key(shop.registry, ["postback"], campaign=shop.link.campaign)
    await postback(shop, network, click_id=click_id(shop), order_id="Z1", payout="5")
    posts = [
        shop.post({"click_id": click_id(shop), "order_id": "Z1", "order_value": value})
        for value in range(1, 11)
    ]
    answers = await asyncio.gather(*posts)
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 9]
    assert (await sums(shop)).conversions == 1


async def test_in_its_campaign_a_network_meets_the_merchants_order(shop: Shop) -> None:
    network = await make_key(shop.registry, ["postback"], campaign=shop.link.campaign)
    body = {"click_id": click_id(shop), "order_id": "Z1", "order_value": 100}
    await shop.post(body)
    parameters = {"click_id": body["click_id"], "order_id": "Z1", "payout": "1"}
    answer = await postback(shop, network, **{k: str(v) for k, v in parameters.items()})
    assert answer.status_code == 409
    assert len(await shop.facts()) == 1


async def test_a_postback_of_another_click_changes_nothing(shop: Shop) -> None:
    first, second = click_id(shop), click_id(shop)
    await postback(shop, shop.key, click_id=first, order_id="X", payout="10")
    answer = await postback(shop, shop.key, click_id=second, order_id="X", payout="70")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "order_id")
    [stored] = await shop.conversions()
    assert (stored.click_id, stored.order_value_minor) == (first, 1_000)
    assert await shop.adjustments() == []


async def test_a_repeated_postback_changes_nothing(shop: Shop) -> None:
    click = click_id(shop)
    calls = [
        {"payout": "100", "status": "approved"},
        {"payout": "80"},
        {"status": "chargeback"},
    ]
    for parameters in [*calls, *calls, calls[0]]:
        answer = await postback(shop, shop.key, click_id=click, order_id="X", **parameters)
        assert answer.status_code == 200
    assert [fact.kind for fact in await shop.adjustments()] == ["restated", "rejected"]
    assert (await sums(shop)).conversions == 0


async def test_automatic_changes_have_a_bound_that_the_owner_has_not(shop: Shop) -> None:
    click = click_id(shop)
    for number in range(101):
        await postback(shop, shop.key, click_id=click, order_id="X", payout=f"{100 + number}")
    answer = await postback(shop, shop.key, click_id=click, order_id="X", payout="999")
    assert answer.status_code == 409
    assert (
        await postback(shop, shop.key, click_id=click, order_id="X", status="rejected")
    ).status_code == 200
    [stored] = await shop.conversions()
    path = f"/v1/conversions/{stored.conversion_id}/adjustments"
    for kind, fields in (
        ("approve", {}),
        ("restate", {"order_value": 50}),
        ("refund", {"amount": 10}),
        ("pay", {}),
        ("reject", {"reason": "fraud"}),
    ):
        body = {"kind": kind, "adjustment_id": kind, **fields}
        assert (await shop.post(body, path=path)).status_code == 201, kind


async def test_an_older_timestamp_does_not_overwrite(shop: Shop) -> None:
    await change_campaign(shop, duplicates="update")
    body = {"click_id": click_id(shop), "order_id": "X"}
    now = datetime.now(UTC)
    for value, minute in ((100, 0), (80, 3), (100, 0), (90, 2)):
        stated = {"order_value": value, "timestamp": (now + timedelta(minutes=minute)).isoformat()}
        assert (await shop.post({**body, **stated})).status_code in (200, 201)
    assert (await sums(shop)).order_value_minor == 8_000


async def test_a_network_uses_up_no_idempotency_key_of_the_merchant(shop: Shop) -> None:
    network = await make_key(shop.registry, ["conversions:write"], campaign=shop.link.campaign)
    lead = {"click_id": click_id(shop), "event": "lead"}
    headers = {"Idempotency-Key": "lead-1"}
    theirs = await shop.post(lead, key=network, **headers)
    ours = await shop.post({**lead, "click_id": click_id(shop)}, **headers)
    assert (theirs.status_code, ours.status_code) == (201, 201)


async def adjust(shop: Shop, conversion_id: str, **body: object) -> httpx2.Response:
    path = f"/v1/conversions/{conversion_id}/adjustments"
    return await shop.post({"adjustment_id": f"{body['kind']}", **body}, path=path)


@pytest.mark.parametrize(
    ("decided", "asked", "field"),
    [
        ({"kind": "reject", "reason": "fraud"}, {"status": "approved"}, "status"),
        ({"kind": "reject", "reason": "fraud"}, {"status": "approved", "payout": "90"}, "status"),
        ({"kind": "restate", "order_value": 50}, {"payout": "90"}, "payout"),
    ],
)
async def test_a_network_does_not_undo_what_the_merchant_decided(
    shop: Shop, decided: dict[str, object], asked: dict[str, str], field: str
) -> None:
    network = await make_key(shop.registry, ["postback"], campaign=shop.link.campaign)
    order = {"click_id": click_id(shop), "order_id": "Z1"}
    await postback(shop, network, **order, payout="100")
    [made] = await shop.conversions()
    assert (await adjust(shop, made.conversion_id, **decided)).status_code == 201
    before = await sums(shop)
    answer = await postback(shop, network, **order, **asked)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, field)
    assert await sums(shop) == before
    # The merchant changes its mind as it likes, and what takes money back is always taken.
    assert (await postback(shop, shop.key, **order, **asked)).status_code == 200
    assert (await postback(shop, network, **order, status="rejected")).status_code == 200
    assert [one.order_value_minor for one in await shop.conversions()] == [10_000]


async def test_a_superseded_conversion_is_not_approved_beside_its_successor(shop: Shop) -> None:
    network = await make_key(shop.registry, ["postback"], campaign=shop.link.campaign)
    await postback(shop, network, click_id=click_id(shop), order_id="Z1", payout="5")
    await shop.post({"click_id": click_id(shop), "order_id": "Z1", "order_value": 100})
    [theirs, _] = await shop.conversions()
    answer = await adjust(shop, theirs.conversion_id, kind="approve")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "kind")
    assert (await sums(shop)).order_value_minor == 10_000


@pytest.mark.parametrize("network_first", [True, False])
async def test_a_network_supersedes_and_blocks_no_claim_in_another_campaign(
    shop: Shop, network_first: bool
) -> None:
    await change_campaign(shop, pixel="on")
    link = await add_campaign(shop, pixel="on")
    network = await make_key(shop.registry, ["postback"], campaign=link.campaign)
    theirs = {"tracking_code": link.tracking_code, "order_id": "1", "payout": "5"}
    if network_first:
        await postback(shop, network, **theirs)
    await pixel(shop, click_id=click_id(shop), order_id="1", amount="100")
    if not network_first:
        await postback(shop, network, **theirs)
    [claim] = [one for one in await shop.conversions() if not one.verified]
    assert (await adjust(shop, claim.conversion_id, kind="approve")).status_code == 201
    assert (await sums(shop)).order_value_minor == 10_500


async def test_a_post_that_is_refused_supersedes_nothing(shop: Shop) -> None:
    await change_campaign(shop, pixel="on")
    claimed = click_id(shop)
    await pixel(shop, click_id=claimed, order_id="1", amount="100")
    await shop.post({"click_id": click_id(shop), "order_id": "2", "order_value": 50})
    refused = await shop.post({"click_id": claimed, "order_id": "2", "order_value": 60})
    assert refused.status_code == 409
    assert (await sums(shop)).unverified == 1


async def test_a_repeat_names_the_conversion_that_supersedes(shop: Shop) -> None:
    await change_campaign(shop, pixel="on")
    body = {"click_id": click_id(shop), "order_id": "1", "order_value": 50}
    first = (await shop.post(body)).json()["conversion_id"]
    await pixel(shop, click_id=click_id(shop), order_id="1", amount="100")
    again = await shop.post(body)
    assert (again.status_code, again.json()["conversion_id"]) == (200, first)
    assert [fact.note for fact in await shop.adjustments()] == [f"superseded by {first}"]


async def test_a_rebill_takes_no_earner_of_several_campaigns_that_have_its_order(
    shop: Shop,
) -> None:
    for link in (await add_campaign(shop), await add_campaign(shop)):
        network = await make_key(shop.registry, ["postback"], campaign=link.campaign)
        await postback(shop, network, tracking_code=link.tracking_code, order_id="1", payout="5")
    rebill = {"event": "rebill", "order_id": "1", "order_value": 5, "customer_id": "c"}
    answer = await shop.post(rebill)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "campaign_id")
    assert len(await shop.conversions()) == 2
