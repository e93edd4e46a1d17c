"""No link leads to the installation's own tracking links, however their address is spelt."""

import msgspec
import pytest

from linkjolt.reasons import Rejected
from linkjolt.registry.entries import Link
from linkjolt.registry.own_address import check_leads_away
from tests.linkjolt.api.client import EDGE_URL, Api
from tests.linkjolt.registry import samples
from tests.security.registry_api import api

__all__ = ["api"]
OWN = [
    *("https://go.example/tc_1", "http://go.example/tc_1", "https://GO.Example/tc_1"),
    *("https://go.example./tc_1", "https://go.example:443/", "http://go.example:80/c/tc_1"),
    *("https://go.example", "https://go.example?x=1", "https://go.example/{click_id}"),
]
ELSEWHERE = [
    "https://shop.example/",
    "https://go.example.shop.example/",
    "https://go.example:8443/",
]
FIELDS = ("destination", "fallback_url")
REFUSED = (422, "invalid_field")


@pytest.mark.parametrize("url", [url for url in OWN if "{" not in url])
@pytest.mark.parametrize("field", FIELDS)
async def test_a_link_to_the_own_host_is_neither_created_nor_made(
    api: Api, field: str, url: str
) -> None:
    await samples.stored_link(api.registry)
    form = {"campaign_id": "cmp_1", "affiliate_id": "aff_1", "destination": "https://shop.example/"}
    before = await api.get("/v1/links/lnk_1")
    assert await api.refused("POST", "/v1/links", {**form, field: url}) == (*REFUSED, [field])
    assert await api.refused("PATCH", "/v1/links/lnk_1", {field: url}) == (*REFUSED, [field])
    many = await api.send("POST", "/v1/links/bulk", {"links": [{**form, field: url}, form]})
    assert [one["status"] for one in many.json()["data"]] == [422, 201]
    assert await api.get("/v1/links/lnk_1") == before
    assert len((await api.get("/v1/links"))["data"]) == 2


@pytest.mark.parametrize("url", OWN)
def test_each_spelling_of_the_own_address_is_known(url: str) -> None:
    with pytest.raises(Rejected) as refused:
        check_leads_away(url, "destination", EDGE_URL)
    assert refused.value.field == "destination"


@pytest.mark.parametrize(
    ("edge_url", "url"),
    [
        ("http://127.0.0.1:8000", "http://localhost:8000/x"),
        ("http://127.0.0.1:8000", "http://a.localhost.:8000/x"),
        ("http://127.0.0.1:8000", "http://[::1]:8000/x"),
        ("http://127.0.0.1:8000", "http://2130706433:8000/x"),
        ("http://127.0.0.1:8000", "http://0x7f.1:8000/x"),
        ("http://0.0.0.0:8000", "http://127.0.0.1:8000/x"),
        ("http://203.0.113.5:8000", "http://0313.0.0161.5:8000/x"),
        ("http://203.0.113.5", "https://[::ffff:203.0.113.5]/x"),
        ("http://[2001:db8::1]", "http://[2001:DB8:0:0::1]/x"),
        ("https://bücher.example", "https://xn--bcher-kva.example/x"),
        ("https://shop.example/go", "https://shop.example/a/../%67o/tc_1"),
    ],
)
def test_each_way_to_write_an_own_address_is_known(edge_url: str, url: str) -> None:
    with pytest.raises(Rejected):
        check_leads_away(url, "destination", edge_url)


@pytest.mark.parametrize(
    ("edge_url", "url"),
    [
        *((EDGE_URL, url) for url in ELSEWHERE),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8080/shop"),
        ("http://203.0.113.5:8000", "http://203.0.113.6:8000/"),
        ("https://shop.example/go", "https://shop.example/gone"),
        ("https://shop.example/go", "https://shop.example/"),
    ],
)
def test_other_addresses_are_taken(edge_url: str, url: str) -> None:
    check_leads_away(url, "destination", edge_url)


async def test_a_ring_of_an_earlier_release_can_still_be_closed(api: Api) -> None:
    link = await samples.stored_link(api.registry)
    ring = f"{EDGE_URL}/{link.tracking_code}"
    await api.registry.patch(
        Link,
        link.account,
        link.number,
        lambda link: msgspec.structs.replace(link, destination=ring),
    )
    answer = await api.send("PATCH", "/v1/links/lnk_1", {"status": "disabled"})
    assert (answer.status_code, answer.json()["status"]) == (200, "disabled")
