"""Tracking links redirect over HTTP, and store the click."""

import asyncio
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from linkjolt import redis_keys
from linkjolt.click_ids import verify_click_id
from linkjolt.events import RECORDED_PARAMETERS
from linkjolt.registry.entries import Link
from linkjolt.storage.redis import read_stream
from tests.ingest.conftest import Shop
from tests.waiting import wait_until

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36"


def query_of(location: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(location).query, keep_blank_values=True))


async def test_a_click_redirects_and_is_recorded(shop: Shop) -> None:
    answer = await shop.client.get("/tc_ABC123?sub1=spring&x=1", headers={"User-Agent": CHROME})
    assert answer.status_code == 302
    query = query_of(answer.headers["location"])
    assert query["ref"] == f"aff_{shop.link.affiliate}"
    [click] = await shop.clicks()
    assert query["click_id"] == click.click_id
    assert (click.sub1, click.params, click.user_agent) == ("spring", {"x": "1"}, CHROME)
    ref = verify_click_id(click.click_id, shop.edge.keyring.click_keys)
    assert ref is not None
    assert ref.link == shop.link.number


async def test_the_alias_with_c_is_the_same_link(shop: Shop) -> None:
    assert (await shop.client.get("/c/tc_ABC123")).status_code == 302
    assert len(await shop.clicks()) == 1


async def test_the_redirect_is_never_cached_nor_indexed(shop: Shop) -> None:
    answer = await shop.client.get("/tc_ABC123")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-robots-tag"] == "noindex"
    assert "set-cookie" not in answer.headers


async def test_head_is_answered_alike_and_recorded_as_head(shop: Shop) -> None:
    answer = await shop.client.head("/tc_ABC123")
    assert answer.status_code == 302
    [click] = await shop.clicks()
    assert click.kind == "head"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("Purpose", "prefetch"),
        ("X-Moz", "prefetch"),
    ],
)
async def test_a_speculative_load_is_told_to_come_again(
    shop: Shop, header: str, value: str
) -> None:
    answer = await shop.client.get("/tc_ABC123", headers={header: value})
    assert (answer.status_code, answer.json()["code"]) == (503, "prefetch_declined")
    assert answer.headers["cache-control"] == "no-store"
    assert await shop.clicks() == []


async def test_a_preview_is_redirected_and_recorded_as_prefetch(shop: Shop) -> None:
    await shop.client.get("/tc_ABC123", headers={"X-Purpose": "preview"})
    [click] = await shop.clicks()
    assert click.kind == "prefetch"


async def test_notrack_redirects_without_a_record(shop: Shop) -> None:
    answer = await shop.client.get("/tc_ABC123?notrack=1&sub1=a")
    assert query_of(answer.headers["location"])["sub1"] == "a"
    assert "notrack" not in query_of(answer.headers["location"])
    assert await shop.clicks() == []


async def test_an_unknown_code_is_404(shop: Shop) -> None:
    answer = await shop.client.get("/nothing-here")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_disabled_link_is_410_or_leads_to_its_fallback(shop: Shop) -> None:
    closed = await shop.add_link(status="disabled")
    moved = await shop.add_link(status="disabled", fallback_url="https://shop.example/over")
    assert (await shop.client.get(f"/{closed.tracking_code}")).status_code == 410
    answer = await shop.client.get(f"/{moved.tracking_code}")
    assert answer.headers["location"] == "https://shop.example/over"
    assert await shop.clicks() == []


async def test_a_plus_shows_where_a_link_leads_without_counting(shop: Shop) -> None:
    shown = (await shop.client.get("/tc_ABC123+")).json()
    assert shown["destination"] == shop.link.destination
    assert await shop.clicks() == []


async def test_every_recorded_parameter_is_recorded_under_its_name(shop: Shop) -> None:
    given = {name: f"v-{name}" for name in RECORDED_PARAMETERS}
    await shop.client.get("/tc_ABC123", params=given)
    [click] = await shop.clicks()
    assert {name: getattr(click, name) for name in RECORDED_PARAMETERS} == given
    assert click.params == {}


async def test_the_visitor_is_the_address_behind_a_trusted_proxy(shop: Shop) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    headers = {**forwarded, "CF-IPCountry": "BR", "CF-Region-Code": "sp"}
    await shop.client.get("/tc_ABC123", headers=headers)
    [click] = await shop.clicks()
    assert (click.ip, click.country, click.region) == ("198.51.100.7", "BR", "SP")


async def test_a_url_over_8_kb_is_refused(shop: Shop) -> None:
    answer = await shop.client.get("/tc_ABC123?x=" + "a" * 8_192)
    assert (answer.status_code, answer.json()["code"]) == (414, "url_too_long")
    assert await shop.clicks() == []


async def test_clicks_of_one_moment_travel_in_few_frames(shop: Shop) -> None:
    await asyncio.gather(*(shop.client.get("/tc_ABC123") for _ in range(50)))
    clicks = await shop.clicks()
    assert len({click.click_id for click in clicks}) == 50
    assert len(await read_stream(shop.redis, redis_keys.clicks(0).key, "-")) < 25


async def test_a_link_made_anywhere_is_served_within_a_second(shop: Shop) -> None:
    assert (await shop.client.get("/soon")).status_code == 404
    link = msgspec.structs.replace(shop.link, number=0, tracking_code="soon")
    await shop.registry.create(link)

    async def served() -> bool:
        return (await shop.client.get("/soon")).status_code == 302

    await wait_until(served)


async def test_many_links_that_are_not_in_memory_are_clicked_at_once(shop: Shop) -> None:
    links = [msgspec.structs.replace(shop.link, number=0, tracking_code="") for _ in range(300)]
    created = [link for link in await shop.registry.create_many(links) if isinstance(link, Link)]
    asked = [shop.client.get(f"/{link.tracking_code}") for link in created]
    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [302] * 300
    assert {click.link for click in await shop.clicks()} == {link.number for link in created}
    assert shop.edge.click_publisher.producer.spooled_events == 0
