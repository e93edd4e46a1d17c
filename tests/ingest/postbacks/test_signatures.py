"""A signature covers all of a call, and is by the key's signing secret."""

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from ingest.postbacks.signatures import signature_digest
from linkjolt.datasets import Account
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import ApiKey, public_id
from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_http import click_id

DOCUMENT = Path(__file__).parents[3] / "docs" / "postbacks.md"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def documented() -> dict[str, Any]:
    """Runs the page's Python, which signs."""
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    return names


SIGNED = documented()["signed"]


async def newest_key(shop: Shop) -> str:
    """Reads the id of the key that was created last."""
    keys = [key.number async for key in shop.registry.iterate(ApiKey, Account(1))]
    return public_id("key", max(keys))


async def signing_key(
    shop: Shop, scopes: Sequence[str] = ("postback",), campaign: int = 0
) -> tuple[str, str]:
    """Creates a key and returns its id and its signing secret."""
    secret = api_key_secrets.make_signing_secret()
    await make_key(shop.registry, scopes, campaign=campaign, signing_secret=secret)
    return await newest_key(shop), secret


async def get(shop: Shop, query: str, path: str = "/postback") -> httpx2.Response:
    return await shop.client.get(f"{path}?{query}")


async def test_a_signed_call_needs_no_key_in_its_url(shop: Shop) -> None:
    key, secret = await signing_key(shop)
    query = SIGNED(f"click_id={click_id(shop)}&payout=5", key, secret)
    assert (await get(shop, query)).status_code == 200
    for broken in (
        query.replace("payout=5", "payout=6"),
        query[:-1],
        query + "&payout=6",
        query.replace(f"{key}&", "key_999&"),
        re.sub(r"ts=\d+", "ts=1", query),
    ):
        assert (await get(shop, broken)).status_code == 401
    assert len(await shop.facts()) == 1


async def test_a_signature_covers_path_method_and_body(shop: Shop) -> None:
    key, secret = await signing_key(shop)
    query = SIGNED(f"click_id={click_id(shop)}&payout=5", key, secret)
    assert (await get(shop, query, "/postback/linkjolt")).status_code == 401
    assert (await shop.client.post(f"/postback?{query}")).status_code == 401
    added = await shop.client.post(f"/postback?{query}", content="status=approved", headers=FORM)
    assert added.status_code == 401
    body = "payout=5&order_id=a"
    query = SIGNED(f"click_id={click_id(shop)}", key, secret, "POST", "/postback", body.encode())
    url = f"/postback?{query}"
    forged = await shop.client.post(url, content=body.replace("5", "500"), headers=FORM)
    assert (forged.status_code, forged.json()["errors"][0]["field"]) == (401, "sig")
    assert (await shop.client.get(url)).status_code == 401
    assert await shop.facts() == []
    assert (await shop.client.post(url, content=body, headers=FORM)).status_code == 200
    [stored] = await shop.conversions()
    assert (stored.order_id, stored.order_value_minor) == ("a", 500)


async def test_a_signed_pixel_is_no_signed_postback(shop: Shop) -> None:
    key, secret = await signing_key(shop)
    query = SIGNED(f"click_id={click_id(shop)}&amount=5", key, secret, "GET", "/p.gif")
    assert (await get(shop, query)).status_code == 401
    assert (await get(shop, query, "/p.gif")).status_code == 200
    assert len(await shop.conversions()) == 1


def signed_by_digest(query: str, key: str, digest: str) -> str:
    """Signs the query alone, as the release before did."""
    text = SIGNED(query, key, digest).rpartition("&sig=")[0]
    return f"{text}&sig={hmac.new(digest.encode(), text.encode(), sha256).hexdigest()}"


async def test_a_signature_of_the_query_alone_is_accepted_for_a_get_with_a_warning(
    shop: Shop,
) -> None:
    digest = api_key_secrets.digest(await make_key(shop.registry, ["postback"]))
    key = await newest_key(shop)
    with capture_logs() as logs:
        for order in ("a", "b"):
            query = f"click_id={click_id(shop)}&payout=5&order_id={order}"
            assert (await get(shop, signed_by_digest(query, key, digest))).status_code == 200
    assert [entry["key"] for entry in logs if "signed" in entry["event"]] == [key]
    query = signed_by_digest(f"click_id={click_id(shop)}&payout=5", key, digest)
    url = f"/postback?{query}"
    assert (await shop.client.post(url, content="order_id=c", headers=FORM)).status_code == 401
    assert (await shop.client.post(url)).status_code == 401
    assert len(await shop.conversions()) == 2


async def test_a_key_without_a_signing_secret_says_where_to_get_one(shop: Shop) -> None:
    await make_key(shop.registry, ["postback"])
    key = await newest_key(shop)
    refused = await get(shop, SIGNED(f"click_id={click_id(shop)}", key, ""))
    assert refused.status_code == 401
    assert f"/v1/keys/{key}/signing-secret" in refused.json()["errors"][0]["message"]
    assert await shop.facts() == []


@pytest.mark.parametrize(("scopes", "campaign"), [(("reports:read",), 0), (("postback",), 99)])
async def test_a_signing_key_needs_the_scope_and_the_campaign(
    shop: Shop, scopes: Sequence[str], campaign: int
) -> None:
    key, secret = await signing_key(shop, scopes, campaign)
    query = SIGNED(f"click_id={click_id(shop)}&payout=5", key, secret)
    assert (await get(shop, query)).status_code == 403
    assert await shop.facts() == []


async def test_a_signed_call_sent_again_changes_nothing(shop: Shop) -> None:
    key, secret = await signing_key(shop)
    query = SIGNED(f"click_id={click_id(shop)}&payout=5&order_id=a", key, secret)
    for _ in range(3):
        assert (await get(shop, query)).status_code == 200
    assert len(await shop.facts()) == 1


def test_only_the_same_signed_call_has_the_same_digest() -> None:
    query = SIGNED("click_id=c", "key_1", "secret", "POST", "/postback", b"order_id=a")
    other = SIGNED("click_id=c", "key_1", "secret", "POST", "/postback", b"order_id=b")
    digests = [signature_digest(one.encode()) for one in (query, query, other)]
    assert digests[0] == digests[1] != digests[2]
    assert signature_digest(b"click_id=c") == ""
