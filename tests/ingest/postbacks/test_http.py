"""Postbacks and the pixel are recorded once, adjust later, and reveal nothing."""

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from prometheus_client import REGISTRY

from ingest.postbacks.http import PIXEL
from tests.ingest.conftest import Shop, add_campaign, make_key
from tests.ingest.conversions.test_http import click_id
from tests.ingest.producers import Lossy

FORM = "application/x-www-form-urlencoded"


async def call(shop: Shop, path: str = "/postback", **parameters: Any) -> httpx2.Response:
    key = parameters.pop("key", None) or await make_key(shop.registry, ["postback"])
    return await shop.client.get(f"{path}?{urlencode(parameters | {'key': key})}")


async def test_a_postback_is_a_conversion(shop: Shop) -> None:
    click = click_id(shop)
    answer = await call(shop, click_id=click, payout="99.99", order_id="o1", status="approved")
    assert (answer.status_code, answer.text) == (200, "OK")
    [stored] = await shop.conversions()
    assert (stored.click_id, stored.order_id, stored.status) == (click, "o1", "approved")
    assert (stored.order_value_minor, stored.commission_minor, stored.event) == (9999, 2999, "sale")


async def test_told_again_it_is_not_doubled_and_answers_what_is_wanted(shop: Shop) -> None:
    parameters = {"click_id": click_id(shop), "payout": "10", "return": "success=true;"}
    answers = [await call(shop, **parameters) for _ in range(3)]
    assert [answer.text for answer in answers] == ["success=true;"] * 3
    assert answers[0].headers["content-type"] == "text/plain; charset=utf-8"
    assert len(await shop.facts()) == 1


async def test_a_later_amount_restates_and_a_status_approves_or_rejects(shop: Shop) -> None:
    click = click_id(shop)
    await call(shop, "/postback/keitaro", subid=click, tid="o1", status="lead")
    await call(shop, "/postback/keitaro", subid=click, tid="o1", status="lead", payout="20")
    await call(shop, "/postback/keitaro", subid=click, tid="o1", status="sale")
    await call(shop, "/postback/keitaro", subid=click, tid="o1", status="sale", payout="20")
    await call(shop, "/postback/keitaro", subid=click, tid="o1", status="rejected")
    assert len(await shop.conversions()) == 1
    facts = [(fact.kind, fact.refundable_now) for fact in await shop.adjustments()]
    assert facts == [("restated", 2000), ("approved", 2000), ("rejected", 2000)]


async def test_a_first_postback_that_rejects_is_kept_as_rejected(shop: Shop) -> None:
    await call(shop, click_id=click_id(shop), payout="5", order_id="o1", status="declined")
    assert len(await shop.conversions()) == 1
    assert [fact.kind for fact in await shop.adjustments()] == ["rejected"]


async def test_a_form_and_a_json_object_are_postbacks_too(shop: Shop) -> None:
    key = await make_key(shop.registry, ["postback"])
    headers = {"Authorization": f"Bearer {key}"}
    parameters = {"click_id": click_id(shop), "payout": "5"}
    form = await shop.client.post("/postback", headers=headers, data=parameters | {"order_id": "a"})
    json = await shop.client.post("/postback", headers=headers, json=parameters | {"order_id": "b"})
    assert (form.status_code, json.status_code) == (200, 200)
    assert [stored.order_id for stored in await shop.conversions()] == ["a", "b"]


async def test_a_body_without_a_type_is_a_form_or_json(shop: Shop) -> None:
    key = await make_key(shop.registry, ["postback"])
    for order, body in (("a", "payout=5&order_id=a"), ("b", ' {"payout": 5, "order_id": "b"}')):
        url = f"/postback?click_id={click_id(shop)}&key={key}"
        request = shop.client.build_request("POST", url, content=body)
        assert "content-type" not in request.headers
        assert (await shop.client.send(request)).status_code == 200, order
    assert [stored.order_id for stored in await shop.conversions()] == ["a", "b"]


async def test_a_body_never_overrides_the_query(shop: Shop) -> None:
    key = await make_key(shop.registry, ["postback"])
    url = f"/postback?click_id={click_id(shop)}&payout=5&order_id=a&key={key}"
    for content, media in (("payout=7777", FORM), ('{"payout": 7777}', "application/json")):
        answer = await shop.client.post(url, content=content, headers={"Content-Type": media})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "payout")
    assert await shop.facts() == []


async def test_a_key_that_is_refused_is_refused_before_the_body_is_read(shop: Shop) -> None:
    async def never() -> AsyncGenerator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    answer = await shop.client.post("/postback?key=lj_live_x", content=never())
    assert answer.status_code == 401


EVENTS = [
    ("linkjolt", "click_id={c}&payout=", ["event=sale", "event=lead", "event=signup"]),
    ("voluum", "cid={c}&payout=", ["txid=SIGNUP", "txid=NEWSLETTER", "txid=PURCHASE"]),
    ("voluum", "cid={c}&payout=", ["et=Install", "et=Deposit", "et=Purchase"]),
    ("keitaro", "subid={c}&payout=", ["tid=1", "tid=2", ""]),
    ("binom", "cnv_id={c}&payout=", ["event1=1", "event2=1", ""]),
    ("everflow", "transaction_id={c}&amount=", ["", "event_id=5", "event_id=6"]),
    ("everflow", "transaction_id={c}&order_id=7&amount=", ["", "adv_event_id=5", "event_id=5"]),
    ("tune", "transaction_id={c}&amount=", ["", "goal_id=1", "goal_id=2"]),
    ("tune", "transaction_id={c}&amount=", ["adv_sub=a", "adv_sub=b", "adv_sub=b&goal_name=b"]),
    ("redtrack", "clickid={c}&sum=", ["rdtk_event_id=a", "rdtk_event_id=b", ""]),
    ("redtrack", "clickid={c}&sum=", ["type=Conversion", "type=Purchase", "type=Upsell"]),
    ("dub", "clickId={c}&amount=", ["invoiceId=in_1", "invoiceId=in_2", "eventName=Trial"]),
]


@pytest.mark.parametrize(("dialect", "query", "events"), EVENTS)
async def test_events_of_one_click_count_apart_and_each_call_once(
    shop: Shop, dialect: str, query: str, events: list[str]
) -> None:
    key = await make_key(shop.registry, ["postback"])
    query = query.replace("{c}", click_id(shop))
    cents = "00" if dialect == "dub" else ""
    for _ in range(2):
        for event, value in zip(events, (50, 80, 20), strict=True):
            url = f"/postback/{dialect}?{query}{value}{cents}&{event}&key={key}"
            answer = await shop.client.get(url)
            assert answer.status_code == 200, answer.text
    stored = await shop.conversions()
    assert [conversion.order_value_minor for conversion in stored] == [5000, 8000, 2000]
    assert await shop.adjustments() == []


@pytest.mark.parametrize(
    ("dialect", "query"),
    [
        ("voluum", "txid=PURCHASE&cid={c}&payout="),
        ("keitaro", "tid=1&subid={c}&payout="),
        ("tune", "adv_sub=NY&transaction_id={c}&amount="),
        ("redtrack", "rdtk_event_id=1&clickid={c}&sum="),
    ],
)
async def test_an_order_of_a_click_is_another_one_of_another_click(
    shop: Shop, dialect: str, query: str
) -> None:
    key = await make_key(shop.registry, ["postback"])
    clicks = [shop.edge.click_ids.make(shop.link.number) for _ in range(3)]
    values = zip(clicks, ("50", "80", "20"), strict=True)
    calls = [query.replace("{c}", click) + value for click, value in values]
    for one in (*calls, *calls):
        answer = await shop.client.get(f"/postback/{dialect}?{one}&key={key}")
        assert answer.status_code == 200, answer.text
    stored = await shop.conversions()
    assert [conversion.order_value_minor for conversion in stored] == [5000, 8000, 2000]
    assert await shop.adjustments() == []


async def test_a_conflict_is_named_as_the_vendor_names_it(shop: Shop) -> None:
    first = {"clickId": click_id(shop), "invoiceId": "o1", "amount": "5"}
    assert (await call(shop, "/postback/dub", **first)).status_code == 200
    click = shop.edge.click_ids.make(shop.link.number)
    other = await call(shop, "/postback/dub", **(first | {"clickId": click}))
    assert (other.status_code, other.json()["errors"][0]["field"]) == (409, "invoiceId")
    currency = {"cnv_id": first["clickId"], "order_id": "o1", "cnv_currency": "EUR"}
    other = await call(shop, "/postback/binom", **currency)
    assert (other.status_code, other.json()["errors"][0]["field"]) == (409, "cnv_currency")


async def test_refunded_takes_its_amount_and_a_negative_amount_too(shop: Shop) -> None:
    sale = {"click_id": click_id(shop), "order_id": "o1", "status": "approved"}
    await call(shop, **sale, payout="100")
    refund = {"click_id": sale["click_id"], "order_id": "o1"}
    for more in ({"status": "refunded", "payout": "20"}, {"payout": "-30"}, {"status": "refund"}):
        for _ in range(2):
            assert (await call(shop, **refund, **more)).status_code == 200
    facts = [(fact.kind, fact.refundable_now) for fact in await shop.adjustments()]
    assert facts == [("refunded", 8000), ("refunded", 5000), ("refunded", 0)]


async def test_nobody_refunds_by_a_pixel_without_a_key(shop: Shop) -> None:
    link = await add_campaign(shop, pixel="on")
    click = shop.edge.click_ids.make(link.number)
    for more in ("amount=-5", "amount=5&status=refunded"):
        await shop.client.get(f"/p.gif?click_id={click}&order_id=o1&{more}")
    assert await shop.facts() == []


async def test_an_undeclared_event_is_a_pending_sale_and_a_declared_one_itself(shop: Shop) -> None:
    declaring = await add_campaign(shop, events=("ftd",), conversion_status="approved")
    for link in (shop.link, declaring):
        click = shop.edge.click_ids.make(link.number)
        answer = await call(shop, "/postback/redtrack", clickid=click, sum="50", type="FTD")
        assert answer.status_code == 200
    found = [(one.event, one.status, one.order_id[26:]) for one in await shop.conversions()]
    assert found == [("sale", "pending", "/type=FTD"), ("ftd", "approved", "")]
    refused = await call(shop, "/postback/redtrack", clickid=click_id(shop), type="ViewContent")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "type")


async def test_the_smallest_units_are_of_the_campaigns_currency(shop: Shop) -> None:
    link = await add_campaign(shop, currency="JPY")
    click = shop.edge.click_ids.make(link.number)
    assert (await call(shop, "/postback/dub", clickId=click, amount="1437")).status_code == 200
    [stored] = await shop.conversions()
    assert (stored.currency, stored.order_value_minor) == ("JPY", 1437)


async def test_a_status_that_the_sender_ignores_records_nothing(shop: Shop) -> None:
    answer = await call(
        shop,
        "/postback/keitaro",
        subid=click_id(shop),
        payout="5",
        status="ping",
        ignore_status="test,ping",
    )
    assert (answer.status_code, answer.text) == (200, "OK")
    assert await shop.facts() == []


@pytest.mark.parametrize(
    "header",
    [{"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}, {"X-Moz": "prefetch"}],
)
async def test_a_call_ahead_of_time_is_declined_and_records_nothing(
    shop: Shop, header: dict[str, str]
) -> None:
    key = await make_key(shop.registry, ["postback"])
    click = click_id(shop)
    for path in ("/postback", "/postback/keitaro", "/p.gif"):
        url = f"{path}?click_id={click}&subid={click}&payout=5&key={key}"
        answer = await shop.client.get(url, headers=header)
        assert (answer.status_code, answer.json()["code"]) == (503, "prefetch_declined")
        assert answer.headers["cache-control"] == "no-store"
    assert await shop.facts() == []


async def test_marks_are_counted(shop: Shop) -> None:
    def counted() -> float:
        name, labels = "linkjolt_postback_notes_total", {"note": "payout_unfilled"}
        return REGISTRY.get_sample_value(name, labels) or 0

    before = counted()
    await call(shop, click_id=click_id(shop), payout="{payout}")
    await call(shop, click_id=click_id(shop), payout="{payout}", currency="XXX")
    assert counted() == before + 1


@pytest.mark.parametrize("executed", [False, True])
async def test_while_redis_is_away_it_is_to_be_sent_again(shop: Shop, executed: bool) -> None:
    producer = shop.edge.conversion_publishers[0].producer
    producer.publish = Lossy(producer.publish, 1, executed=executed)
    parameters = {"click_id": click_id(shop), "payout": "5", "status": "rejected"}
    answer = await call(shop, **parameters)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert (await call(shop, **parameters)).status_code == 200
    assert [stored.order_value_minor for stored in await shop.conversions()] == [500]
    assert [fact.kind for fact in await shop.adjustments()] == ["rejected"]


REFUSED: list[tuple[str, dict[str, str], int, str]] = [
    ("/postback/binom", {"payout": "5"}, 422, "cnv_id"),
    ("/postback/tune", {"transaction_id": "x", "amount": "1.005", "adv_sub": "a"}, 422, "amount"),
    ("/postback", {"click_id": "x", "timestamp": "99999999999"}, 422, "timestamp"),
    ("/postback/none", {"click_id": "x"}, 404, "dialect"),
    ("/postback", {"key": "lj_live_x", "click_id": "x"}, 401, ""),
    ("/postback/voluum", {"cid": "x", "payout": "a"}, 422, "payout"),
    ("/postback", {"payout": "1"}, 422, "tracking_code"),
    ("/postback", {"click_id": "x", "return": "a\nb"}, 422, "return"),
    ("/postback", {"tracking_code": "none", "order_id": "o"}, 422, "tracking_code"),
]


@pytest.mark.parametrize(("path", "parameters", "status", "field"), REFUSED)
async def test_a_bad_postback_is_refused_and_changes_nothing(
    shop: Shop, path: str, parameters: dict[str, str], status: int, field: str
) -> None:
    answer = await call(shop, path, **parameters)
    assert answer.status_code == status
    assert [error["field"] for error in answer.json()["errors"]] == ([field] if field else [])
    assert await shop.facts() == []


async def test_a_key_needs_the_scope_and_the_campaign(shop: Shop) -> None:
    parameters = {"click_id": click_id(shop), "payout": "1"}
    reader = await make_key(shop.registry, ["reports:read"])
    assert (await call(shop, key=reader, **parameters)).status_code == 403
    other = await make_key(shop.registry, ["postback"], campaign=99)
    assert (await call(shop, key=other, **parameters)).status_code == 403
    assert (await shop.client.get("/postback?click_id=x")).status_code == 401
    bound = await make_key(shop.registry, ["postback"], campaign=shop.link.campaign)
    assert (await call(shop, key=bound, **parameters)).status_code == 200


async def test_a_bound_key_touches_no_order_of_another_campaign(shop: Shop) -> None:
    await call(shop, click_id=click_id(shop), payout="5", order_id="o1", status="approved")
    link = await add_campaign(shop)
    bound = await make_key(shop.registry, ["postback"], campaign=link.campaign)
    parameters = {"tracking_code": link.tracking_code, "order_id": "o1", "status": "rejected"}
    assert (await call(shop, key=bound, **parameters)).status_code == 200
    [_, second] = await shop.conversions()
    assert (second.campaign, second.all_notes) == (link.campaign, ("order_in_two_campaigns",))
    assert {fact.conversion_id for fact in await shop.adjustments()} == {second.conversion_id}


async def test_a_pixel_is_always_the_same_image(shop: Shop) -> None:
    click = click_id(shop)
    parameters = [
        f"click_id={click}&order_id=o1&amount=5&status=approved",
        "click_id=forged&amount=5",
        f"click_id={click}&amount=x",
        "key=lj_live_x",
        "",
        f"click_id={click}&return=hello",
    ]
    answers = [await shop.client.get(f"/p.gif?{query}") for query in parameters]
    assert {answer.content for answer in answers} == {PIXEL}
    assert len(PIXEL) == 43
    bare = [{k: v for k, v in a.headers.items() if k != "x-request-id"} for a in answers]
    assert bare[0]["content-type"] == "image/gif"
    assert all(headers == bare[0] for headers in bare)
    assert await shop.facts() == []


async def test_a_pixel_with_a_key_says_what_a_postback_says(shop: Shop) -> None:
    parameters = {"click_id": click_id(shop), "amount": "5", "order_id": "o1", "status": "approved"}
    assert (await call(shop, "/p.gif", **parameters)).content == PIXEL
    [stored] = await shop.conversions()
    assert stored.status == "approved"
