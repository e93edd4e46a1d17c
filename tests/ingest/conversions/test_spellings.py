"""Posts are read as shops write them, alike in the application and ahead of it, over sockets."""

import asyncio
import gzip
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import httpx2
import msgspec
import pytest

from ingest.app import create_app
from ingest.conversions.protocol import edge_protocol_factory
from linkjolt.click_ids import ALPHABET, CLICK_ID_LENGTH, encode_base32
from linkjolt.web import server
from tests.ingest.conftest import Shop
from tests.ingest.conversions.test_attribution import change_campaign
from tests.ingest.conversions.test_http import ORDER, click_id
from tests.waiting import wait_until

MARK = b"\xef\xbb\xbf"
LEAD = {"tracking_code": "tc_ABC123", "event": "lead"}


@pytest.fixture
async def served(shop: Shop) -> AsyncGenerator[Shop]:
    """Serves the shop's edge on a socket, with the protocol that answers plain posts itself."""
    sock = server.listen("127.0.0.1", 0)
    port: int = sock.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(
        server.serve(
            create_app(shop.edge),
            sock=sock,
            stop=stop,
            shutdown_seconds=1,
            protocol=edge_protocol_factory(shop.edge),
        )
    )
    await wait_until(lambda: server.is_ready("127.0.0.1", port))
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield replace(shop, client=client)
    stop.set()
    await serving


READ: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # Empty values are absent.
    *(
        ({name: empty}, {stored: ""})
        for name, stored in (
            ("coupon_code", "coupon_code"),
            ("click_id", "given_click_id"),
            ("customer_id", "customer_id"),
            ("adv1", "adv1"),
            ("adv5", "adv5"),
            ("items", "items"),
            ("metadata", "metadata"),
            ("customerEmail", "customer"),
        )
        for empty in ("", None)
    ),
    *(({name: ""}, {"currency": "USD"}) for name in ("currency", "status", "timestamp")),
    *(({name: None}, {"event": "sale"}) for name in ("event", "status", "timestamp", "currency")),
    ({"event": ""}, {"event": "sale"}),
    ({"campaign_id": "", "affiliate_id": None}, {"order_value_minor": 9999}),
    ({"metadata": [], "items": []}, {"metadata": "", "items": ""}),
    ({"metadata": {}, "items": {}}, {"metadata": "", "items": ""}),
    ({"metadata": {"a": ""}, "items": [{"b": None}]}, {"metadata": '{"a":""}'}),
    ({"click_ids": []}, {"given_click_id": ""}),
    ({"click_ids": ["", None, "c"]}, {"given_click_id": "c"}),
    ({"customer_id": " \t"}, {"customer_id": ""}),
    # Whole numbers serve as texts.
    ({"order_id": 12345}, {"order_id": "12345"}),
    ({"order_id": 0}, {"order_id": "0"}),
    ({"order_id": 10**60}, {"order_id": str(10**60)}),
    (
        {"customer_id": 42, "click_id": -1, "coupon_code": 10, "adv3": 7},
        {"customer_id": "42", "given_click_id": "-1", "coupon_code": "10", "adv3": "7"},
    ),
    ({"click_ids": [5]}, {"given_click_id": "5"}),
    # Identifiers have one spelling.
    ({"order_id": " 1001 "}, {"order_id": "1001"}),
    ({"order_id": "\u00a01001\u3000"}, {"order_id": "1001"}),
    ({"order_id": "\ufeff1001\u200b"}, {"order_id": "1001"}),
    ({"order_id": "10\u200b0\u20601"}, {"order_id": "1001"}),
    ({"order_id": "\u200d1001\u200c"}, {"order_id": "1001"}),
    ({"order_id": "u\u0308"}, {"order_id": "ü"}),
    ({"order_id": "\u0646\u200c\u0647"}, {"order_id": "\u0646\u200c\u0647"}),
    ({"order_id": "#10 01/\U0001f468\u200d\U0001f469"}, {"order_id": "#10 01/👨\u200d👩"}),
    ({"order_id": "x" * 128 + "  "}, {"order_id": "x" * 128}),
    (
        {"customer_id": " 7", "coupon_code": "SPRING "},
        {"customer_id": "7", "coupon_code": "SPRING"},
    ),
    ({"tracking_code": "\u200btc_ABC123 "}, {"link": 1}),
    ({"adv1": " as it is "}, {"adv1": " as it is "}),
    # Currencies in any case, amounts in the digits that everybody reads alike.
    ({"currency": "usd"}, {"currency": "USD"}),
    ({"currency": " Usd "}, {"currency": "USD"}),
    ({"order_value": " 12.50 "}, {"order_value_minor": 1250}),
    ({"order_value": "12."}, {"order_value_minor": 1200}),
    ({"order_value": ".5"}, {"order_value_minor": 50}),
    ({"order_value": "007"}, {"order_value_minor": 700}),
    # A bad address costs no sale.
    ({"customer_email": "guest"}, {"customer": ""}),
    ({"customer_email": 5}, {"customer": ""}),
    ({"customer_email": "a@" + "b" * 400}, {"customer": ""}),
    ({"customer_email": "a b@c"}, {"customer": ""}),
    # A leap second is read (RFC 3339, 5.7).
    ({"timestamp": "2016-12-31T23:59:60Z"}, {"time_ms": 1_483_228_799_999}),
    ({"timestamp": "2016-12-31T23:59:60.5Z"}, {"time_ms": 1_483_228_799_999}),
    ({"timestamp": "2016-12-31T18:59:60-05:00"}, {"time_ms": 1_483_228_799_999}),
    ({"timestamp": " 2026-01-01T10:00:00+02:00 "}, {"time_ms": 1_767_254_400_000}),
]


@pytest.mark.parametrize(("fields", "stored"), READ)
async def test_a_post_is_stored_as_it_is_meant_and_known_again(
    served: Shop, fields: dict[str, Any], stored: dict[str, Any]
) -> None:
    body = {name: value for name, value in ORDER.items() if name != "customer_email"} | fields
    # The first is answered by the application, the others ahead of it.
    answers = [await served.post(body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert answers[1].json() == answers[2].json() == {**answers[0].json(), "duplicate": True}
    [conversion] = await served.conversions()
    assert {name: getattr(conversion, name) for name in stored} == stored


SALE = b'"tracking_code":"tc_ABC123","order_id":"1"'
EVENT = b'"click_id":"a","event":"lead"'
INVALID, MISSING = "invalid_field", "missing_field"
ALIASED = {"trackingCode": "tc_ABC123", "orderId": "1"}
# Separators, other scripts' digits, other notations.
NO_AMOUNTS = [
    *("1_000", "1 000", "1,000.00", "1.234,56", "$10", "\uff11\uff12", "\u0661\u0662", "1\u066b5"),
    *("0x10", "--1", "NaN", "Infinity", "-1", "1e3e", "1.0.0", "\u20131"),
]
REFUSED: list[tuple[object, str, str]] = [
    *(({**ORDER, "order_value": text}, INVALID, "order_value") for text in NO_AMOUNTS),
    *(({**ORDER, "order_id": one}, INVALID, "order_id") for one in (1.5, True, ["1"], 10**128)),
    *(({**ORDER, "order_id": "ü" * length}, INVALID, "order_id") for length in (129, 2_000)),
    *(({**ORDER, "order_id": one}, MISSING, "order_id") for one in (None, "", "\u200b \ufeff")),
    ({**ORDER, "customerId": "a\x00b"}, INVALID, "customerId"),
    ({**ORDER, "order_value": ""}, MISSING, "order_value"),
    ({**ORDER, "tracking_code": ""}, MISSING, "tracking_code"),
    ({**ORDER, "currency": "dollar"}, INVALID, "currency"),
    ({**ORDER, "currency": 840}, INVALID, "currency"),
    ({**ORDER, "timestamp": "2016-12-31T12:00:60Z"}, INVALID, "timestamp"),
    ({**ORDER, "timestamp": "2016-12-31T23:59:60+02:00"}, INVALID, "timestamp"),
    ({**ORDER, "timestamp": "2016-12-31T23:59:60"}, INVALID, "timestamp"),
    ({**ORDER, "timestamp": "2016-12-31T23:59:61Z"}, INVALID, "timestamp"),
    ({**ORDER, "timestamp": "0001-01-01T23:59:60+23:59"}, INVALID, "timestamp"),
    ({**ORDER, "timestamp": 1_767_254_400}, INVALID, "timestamp"),
    # No sender sets what the parser notes.
    ({**ORDER, "notes": ["x"]}, "unknown_field", "notes"),
    ({**ORDER, "ignored_fields": ["x"]}, "unknown_field", "ignored_fields"),
    # A name given twice means two things.
    (b'{%b,"order_value":1,"order_value":1000}' % SALE, INVALID, "order_value"),
    (b'{%b,"order_value" :1,"order_value":1,"adv1":":"}' % SALE, INVALID, "order_value"),
    (b'{%b,"order_value":1,"amount":2}' % SALE, INVALID, "amount"),
    (b'{%b,"amount":2,"amount":3}' % SALE, INVALID, "amount"),
    (b'{%b,"event":"lead"}' % EVENT, INVALID, "event"),
    (b'{%b,"adv1":null,"adv1":"x"}' % EVENT, INVALID, "adv1"),
    (b'{%b,"timestamp":"2026-01-01T00:00:00Z","x":1,"x":2}' % EVENT, INVALID, "x"),
    (b'{%b,"metadata":{"a":1,"b":{"c":1,"c":2}}}' % EVENT, INVALID, "metadata.b.c"),
    (b'{%b,"metadata":{"a":[0,{"c":1,"c":2}]}}' % EVENT, INVALID, "metadata.a[1].c"),
    (b'{%b,"items":[{},{},{},{"price":1,"pr\\u0069ce":2}]}' % EVENT, INVALID, "items[3].price"),
    # Errors name the field as it was sent, also those found later.
    (ALIASED, MISSING, "order_value"),
    ({**ALIASED, "amount": "1_0"}, INVALID, "amount"),
    ({**ALIASED, "amount": "1.001"}, INVALID, "amount"),
    ({**ALIASED, "amount": 1, "affiliateId": "aff_999"}, "unknown_reference", "affiliateId"),
    ({**ALIASED, "amount": 1, "trackingCode": "nope"}, "unknown_tracking_code", "trackingCode"),
    ({**LEAD, "clickIds": ["a", ["b"]]}, INVALID, "clickIds[1]"),
    ({**LEAD, "clickIds": ["a" * 129]}, INVALID, "clickIds[0]"),
    ({**LEAD, "items": [{}, 5]}, INVALID, "items[1]"),
]


@pytest.mark.parametrize(("body", "code", "field"), REFUSED)
async def test_what_is_ambiguous_is_refused_under_the_name_that_was_sent(
    served: Shop, body: object, code: str, field: str
) -> None:
    # Once known, a plain post is parsed ahead of the application.
    assert (await served.post(LEAD)).status_code == 201
    answer = await served.post(body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    lines = await served.post(body, **{"Content-Type": "application/x-ndjson"})
    [result] = lines.json()["data"]
    assert (result["status"], result["errors"][0]["field"]) == (422, field)
    assert len(await served.conversions()) == 1


async def test_a_conflict_names_the_order_as_it_was_sent(served: Shop) -> None:
    body = {"trackingCode": "tc_ABC123", "orderId": "1", "amount": 1}
    assert (await served.post(body)).status_code == 201
    for _ in range(2):
        conflict = await served.post({**body, "amount": 2})
        assert (conflict.status_code, conflict.json()["errors"][0]["field"]) == (409, "orderId")


def spellings(click: str) -> list[str]:
    """Writes a click id in the ways in which Crockford's base32 is read."""
    mixed = "".join(c.lower() if at % 2 else c for at, c in enumerate(click))
    similar = click.replace("1", "I").replace("0", "o")
    return [
        click.lower(),
        mixed,
        similar,
        similar.replace("I", "l"),
        f" {click}\n",
        f"\u200b{click}",
    ]


async def test_a_click_earns_in_every_spelling_of_its_id(served: Shop) -> None:
    click = click_id(served)
    for number, spelling in enumerate(spellings(click)):
        sale = {"order_id": str(number), "order_value": 10}
        posts = [
            {**sale, "click_id": spelling},
            {**sale, "order_id": f"r{number}", "event": "rebill", "click_ids": [spelling]},
            {"event": "lead", "tracking_code": f"tc_ABC123_aff_1_cid_{click.lower()}"},
        ]
        for post in posts:
            answer = (await served.post(post)).json()
            assert (answer["click_id"], answer["attribution"]["method"]) == (click, "click")
        repeated = await served.post({**sale, "click_id": click})
        assert repeated.status_code == 200


async def test_a_postback_of_a_click_is_one_order_in_every_spelling_of_its_id(served: Shop) -> None:
    click = click_id(served)
    headers = {"Authorization": f"Bearer {served.key}"}
    for spelling in (click, *spellings(click)):
        parameters = {"click_id": spelling, "payout": "5"}
        answer = await served.client.get("/postback", params=parameters, headers=headers)
        assert answer.status_code == 200
    [stored] = await served.conversions()
    assert (stored.order_id, stored.click_id) == (click, click)


async def test_a_form_without_a_content_type_is_a_postback(served: Shop) -> None:
    body = f"click_id={click_id(served)}&payout=5&order_id=a&key={served.key}".encode()
    posted = await served.client.post("/postback", content=body)
    assert (posted.status_code, posted.text) == (200, "OK")
    fields = {"click_id": click_id(served), "payout": 5, "order_id": "b", "key": served.key}
    marked = await served.client.post("/postback", content=MARK + msgspec.json.encode(fields))
    assert (marked.status_code, marked.text) == (200, "OK")
    assert [stored.order_id for stored in await served.conversions()] == ["a", "b"]


async def test_a_byte_order_mark_before_json_is_skipped(served: Shop) -> None:
    orders = [msgspec.json.encode({**ORDER, "order_id": str(number)}) for number in range(4)]
    assert (await served.post(MARK + orders[0])).status_code == 201
    array = await served.post(MARK + b" [" + orders[1] + b"]")
    assert [result["status"] for result in array.json()["data"]] == [201]
    large = await served.post(MARK + b"[" + b" " * 70_000 + b"]")
    assert (large.status_code, large.json()["data"]) == (200, [])
    lines = await served.post(
        MARK + orders[2] + b"\n" + orders[3], **{"Content-Type": "application/x-ndjson"}
    )
    assert [result["status"] for result in lines.json()["data"]] == [201, 201]
    headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/json"}
    campaign = await served.client.patch(
        f"/v1/campaigns/cmp_{served.link.campaign}",
        content=MARK + b'{"name":"Summer"}',
        headers=headers,
    )
    assert campaign.json()["name"] == "Summer"
    twice = await served.post(MARK + orders[0].replace(b"{", b'{"order_id":"x",'))
    assert (twice.status_code, twice.json()["errors"][0]["field"]) == (422, "order_id")


@pytest.mark.parametrize("media_type", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "gzip, identity"])
async def test_an_encoded_body_is_refused_by_the_name_of_its_encoding(
    served: Shop, media_type: str, encoding: str
) -> None:
    assert (await served.post(LEAD)).status_code == 201
    body = gzip.compress(msgspec.json.encode(ORDER))
    headers = {"Content-Type": media_type, "Content-Encoding": encoding}
    answer = await served.post(body, **headers)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (415, "unsupported_media_type")
    assert encoding.lower() in problem["detail"]
    assert answer.headers["accept-encoding"] == "identity"
    plain = await served.post(msgspec.json.encode(ORDER), **headers)
    assert plain.status_code == 415
    assert len(await served.conversions()) == 1


async def test_the_encoding_identity_is_none(served: Shop) -> None:
    for status in (201, 200, 200):
        answer = await served.post(ORDER, **{"Content-Encoding": "identity"})
        assert answer.status_code == status


async def test_a_rebill_needs_no_order_where_its_customer_or_click_is_named(served: Shop) -> None:
    rebill = {"event": "rebill", "order_value": 5}
    accepted: list[dict[str, Any]] = [
        {"click_id": click_id(served)},
        {"customer_id": "7", "tracking_code": "tc_ABC123"},
        {"customer_id": "7"},
        {"order_id": "1"},
    ]
    for named in accepted:
        assert (await served.post({**rebill, **named})).status_code == 201
    refused: list[tuple[dict[str, Any], str]] = [
        ({"tracking_code": "tc_ABC123"}, "order_id"),
        ({}, "tracking_code"),
        ({"click_id": "a", "order_value": None}, "order_value"),
    ]
    for named, field in refused:
        answer = await served.post({**rebill, **named})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_an_update_is_found_under_another_spelling_of_the_order(served: Shop) -> None:
    await change_campaign(served, duplicates="update")
    assert (await served.post({**ORDER, "order_id": 1001})).status_code == 201
    later = await served.post({**ORDER, "order_id": " 1001", "order_value": 50, "currency": "usd"})
    assert (later.status_code, later.json()["order_value"]) == (200, 50.0)
    assert len(await served.conversions()) == 1


def test_every_letter_of_a_click_id_is_in_a_spelling() -> None:
    everything = encode_base32((1 << 128) - 1)
    assert len(everything) == CLICK_ID_LENGTH
    assert set("IlOo").isdisjoint(ALPHABET)
