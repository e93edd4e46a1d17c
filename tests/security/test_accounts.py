"""Two accounts with mirrored ids share an installation, and nothing of one reaches the other."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any, cast

import httpx2
import pytest
from redis import Redis

from tests.money.merchant import Arrival, HookServer, ok
from tests.money.shop import BROWSER, Api
from tests.project.openapi.conftest import DOCUMENTS
from tests.security.access_table import Called, operations_of
from tests.system.conftest import wait_for

# The words by which all fields of an account are known, and that none of its answers may lack.
NORTH, SOUTH = "CanaryNorth", "CanarySouth"
ORDERS = 40
# The event log needs a period; other reads have none that they must be given.
QUERIES = {"/v1/events": {"type": "conversion"}, "/v1/early-adjustments": {"order_id": "order-1"}}


class Merchant:
    """An account with one of everything, in whose every field its word is."""

    def __init__(self, api: Api, hooks: HookServer, word: str) -> None:
        made = json.loads(run_command(api, "accounts", "create", "--name", word, "--json"))
        self.api, self.hooks, self.word = api, hooks, word
        self.account: str = made["id"]
        self.key: str = made["key"]
        self.ids: dict[str, str] = {"keys": made["key_id"]}
        self.codes: list[str] = []
        self.conversions: list[str] = []
        self.click_ids: list[str] = []

    def send(self, method: str, path: str, **more: Any) -> httpx2.Response:
        return self.api.send(method, path, key=self.key, **more)

    def create(self, kind: str, **fields: Any) -> str:
        answer = self.send("POST", f"/v1/{kind}", json=fields)
        assert answer.status_code == 201, answer.text
        self.ids[kind] = answer.json()["id"]
        self.client_secret = answer.json().get("client_secret", "")
        return self.ids[kind]

    def ask_token(self) -> httpx2.Response:
        """Asks for a token of the account's OAuth client."""
        return httpx2.post(
            f"{self.api.edge}/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(self.ids["oauth-clients"], self.client_secret),
        )

    def open(self) -> None:
        """Fills the registry; the names of both accounts differ in their word only."""
        word = self.word
        commission = {"kind": "percentage", "rate": "30"}
        campaign = self.create("campaigns", name=word, currency="USD", commission=commission)
        affiliate = self.create("affiliates", name=word, email=f"{word}@shop.example")
        link = self.send(
            "POST",
            "/v1/links",
            json={
                "campaign_id": campaign,
                "affiliate_id": affiliate,
                "destination": f"https://shop.example/{word}",
                "fallback_url": f"https://shop.example/fallback/{word}",
            },
        ).json()
        self.ids["links"] = link["id"]
        self.codes.append(link["tracking_code"])
        # The same code in both accounts: coupons are an account's own.
        self.create("coupons", code="MIRROR", campaign_id=campaign, affiliate_id=affiliate)
        self.hooks.replies[f"/{word}"] = ok
        url = f"http://127.0.0.1:{self.hooks.server_port}/{word}"
        self.create("webhooks", url=url, events=["conversion.created"])
        rate = {"from": "EUR", "to": "USD", "rate": "1.1", "valid_from": "2026-01-01T00:00:00Z"}
        self.create("rates", **rate)
        self.create("oauth-clients", name=word, scopes=["links:read"])

    def order(self, number: int) -> None:
        """Clicks, and posts the order that the other account posts, too."""
        query = {"sub1": self.word, "source_id": self.word, "odd": self.word}
        headers = {**BROWSER, "Referer": f"https://{self.word}.example/"}
        path = f"/{self.codes[0]}"
        answer = self.api.send("GET", path, key="-", headers=headers, params=query)
        click_id = httpx2.URL(answer.headers["location"]).params["click_id"]
        posted = self.send(
            "POST",
            "/v1/conversions",
            json={
                "click_id": click_id,
                "order_id": f"order-{number}",
                "order_value": 10,
                "customer_id": "customer-1",
                "customer_email": "customer@shop.example",
                "adv1": self.word,
                "metadata": {"note": self.word},
                "items": [{"sku": self.word}],
            },
            headers={"Idempotency-Key": f"key-{number}"},
        )
        assert posted.status_code == 201, posted.text
        self.click_ids.append(click_id)
        self.conversions.append(posted.json()["conversion_id"])


def run_command(api: Api, *arguments: str) -> str:
    done = api.instance.linkjolt(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def hooks() -> Iterator[HookServer]:
    """Runs a server that webhooks of all accounts lead to."""
    server = HookServer()
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def merchants(api: Api, hooks: HookServer) -> Iterator[tuple[Merchant, Merchant]]:
    """Opens two accounts, whose orders come at the same time."""
    both = Merchant(api, hooks, NORTH), Merchant(api, hooks, SOUTH)
    for one in both:
        one.open()
    with ThreadPoolExecutor(4) as workers:
        posts = [workers.submit(one.order, n) for n in range(ORDERS) for one in both]
        for post in posts:
            post.result()
    for one in both:
        wait_for("all orders are reported", lambda one=one: counted(one) == ORDERS, 60)
    yield both


def counted(one: Merchant) -> int:
    answer = one.send("GET", one.api.reports + "/v1/reports", params={"metrics": "conversions"})
    return answer.json()["totals"]["conversions"]


def listener_of(api: Api, name: str) -> str:
    return api.edge if name == "edge" else api.reports


def reads(listener: str) -> Iterator[Called]:
    for one in operations_of(DOCUMENTS[listener]):
        # A stream does not end; the live feed has a test of its own.
        if one.ways is not None and one.method == "GET" and one.id != "streamEvents":
            yield one


def url_of(one: Called, merchant: Merchant) -> str:
    kind = one.path.split("/")[2] if one.path.startswith("/v1/") else ""
    url = one.path.replace("{conversion_id}", merchant.conversions[0])
    return url.replace("{id}", merchant.ids.get(kind, "none")).replace("{webhook_id}", "msg_0")


@pytest.mark.parametrize("listener", DOCUMENTS)
def test_no_answer_of_an_account_has_a_word_of_another(
    merchants: tuple[Merchant, Merchant], listener: str
) -> None:
    own_words = 0
    for asker, other in (merchants, merchants[::-1]):
        host = listener_of(asker.api, listener)
        for one in reads(listener):
            for group in ({}, {"group_by": "affiliate"}, {"group_by": "sub1"}, {"format": "csv"}):
                query = {**QUERIES.get(one.path, {}), **group}
                answer = asker.send("GET", host + url_of(one, asker), params=query)
                assert answer.status_code < 500, (one.id, answer.text)
                assert other.word not in answer.text, one.id
                assert not any(known in answer.text for known in other.conversions), one.id
                assert not any(known in answer.text for known in other.click_ids), one.id
                own_words += asker.word in answer.text
    assert own_words > 10


@pytest.mark.parametrize("listener", DOCUMENTS)
def test_nothing_of_another_account_is_found_by_its_id(
    merchants: tuple[Merchant, Merchant], listener: str
) -> None:
    for asker, other in (merchants, merchants[::-1]):
        host = listener_of(asker.api, listener)
        for one in operations_of(DOCUMENTS[listener]):
            if "{id}" not in one.path and "{conversion_id}" not in one.path:
                continue
            media, content = one.body or ("", b"")
            answer = asker.send(
                one.method,
                host + url_of(one, other),
                content=content,
                headers={"Content-Type": media} if media else {},
            )
            assert answer.status_code in (404, 422), (one.id, answer.status_code, answer.text)
            assert other.word not in answer.text, one.id


def test_another_accounts_entries_are_no_references(merchants: tuple[Merchant, Merchant]) -> None:
    asker, other = merchants
    link = {"campaign_id": other.ids["campaigns"], "affiliate_id": asker.ids["affiliates"]}
    answer = asker.send("POST", "/v1/links", json={**link, "destination": "https://shop.example"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "campaign_id")
    posts = (
        {"tracking_code": other.codes[0]},
        {"tracking_code": asker.codes[0], "campaign_id": other.ids["campaigns"]},
    )
    for number, named in enumerate(posts):
        body = {"order_id": f"foreign-{number}", "order_value": 1, **named}
        answer = asker.send("POST", "/v1/conversions", json=body)
        assert answer.status_code == 422, answer.text
        assert other.word not in answer.text
    # A click of another account earns nothing in this one.
    body = {"order_id": "foreign-click", "order_value": 1, "click_id": other.click_ids[0]}
    answer = asker.send("POST", "/v1/conversions", json=body).json()
    assert (answer["affiliate_id"], answer["attribution"]["method"]) == (None, "none")


def test_reports_of_each_account_are_its_own(merchants: tuple[Merchant, Merchant]) -> None:
    for asker, other in (merchants, merchants[::-1]):
        url = asker.api.reports + "/v1/reports"
        query = {"metrics": "clicks,conversions,revenue", "group_by": "campaign"}
        first = asker.send("GET", url, params=query)
        # The live feed's test may have clicked, too.
        assert first.json()["totals"]["clicks"] in (ORDERS, len(asker.click_ids))
        # The entity tag of one account's report is none of the other's.
        again = other.send(
            "GET", url, params=query, headers={"If-None-Match": first.headers["etag"]}
        )
        assert again.status_code == 200
        filtered = {"metrics": "clicks", "affiliate": other.ids["affiliates"]}
        assert asker.send("GET", url, params=filtered).json()["totals"]["clicks"] == 0


def test_the_live_feed_has_the_events_of_its_account(merchants: tuple[Merchant, Merchant]) -> None:
    asker, other = merchants
    headers = {"Authorization": f"Bearer {asker.key}"}
    begun = len(asker.conversions)
    with (
        httpx2.Client(timeout=30) as client,
        client.stream("GET", asker.api.reports + "/v1/live", headers=headers) as feed,
    ):
        seen = ""
        for text in feed.iter_text():
            if not seen:
                # Joined: the events that follow are sent.
                other.order(1_000 + begun)
                asker.order(1_000 + begun)
            seen += text
            if asker.conversions[-1] in seen:
                break
    assert other.word not in seen
    assert other.conversions[-1] not in seen


def test_webhooks_of_an_account_tell_of_it_alone(merchants: tuple[Merchant, Merchant]) -> None:
    for one, other in (merchants, merchants[::-1]):

        def told(one: Merchant = one) -> list[Arrival]:
            return [each for each in [*one.hooks.arrived] if each.path == f"/{one.word}"]

        wait_for("all orders are told", lambda told=told: len(told()) >= ORDERS, 60)
        ids = {each.data["conversion_id"] for each in told()}
        assert {*one.conversions[:ORDERS]} <= ids
        assert not ids & {*other.conversions}
        texts = [str(each) for each in told()]
        assert not [text for text in texts if other.word in text]
        assert all(one.word in text for text in texts)


def test_lines_of_the_streams_have_the_account_that_their_words_say(
    merchants: tuple[Merchant, Merchant],
) -> None:
    numbers = {one.word: int(one.account.removeprefix("acc_")) for one in merchants}
    api = merchants[0].api
    lines = [line for kind in ("clicks", "conversions") for line in stream_lines(api, kind)]
    seen = Counter[str]()
    for line in lines:
        words = [word for word in numbers if word in line]
        assert len(words) <= 1, line
        for word in words:
            assert f'"account":{numbers[word]},' in line.replace(" ", ""), line
            seen[word] += 1
    assert all(seen[word] >= 2 * ORDERS for word in numbers), seen


def stream_lines(api: Api, kind: str) -> list[str]:
    """Reads the lines of a stream as they lie in Redis."""
    url = cast(str, api.instance.run["redis_url"])
    with Redis.from_url(url) as redis:  # pyright: ignore[reportUnknownMemberType]
        entries = cast(list[tuple[bytes, dict[bytes, bytes]]], redis.xrange(f"lj:{{0}}:{kind}"))
    return [line for _, entry in entries for line in entry[b"f"].decode().splitlines()]


def test_an_export_of_a_customer_has_the_orders_of_its_account(
    merchants: tuple[Merchant, Merchant],
) -> None:
    # Both have a customer of this id.
    for one, other in (merchants, merchants[::-1]):
        asked = one.send("POST", "/v1/privacy/exports", json={"customer_id": "customer-1"})
        job = f"/v1/privacy/jobs/{asked.json()['id']}"
        wait_for(
            "the export is done",
            lambda one=one, job=job: one.send("GET", job).json()["state"] == "done",
            30,
        )
        assert other.send("GET", job).status_code == 404
        assert other.send("GET", f"{job}/data").status_code == 404
        data = one.send("GET", f"{job}/data")
        ids = {row["conversion_id"] for row in data.json()["data"]}
        assert {*one.conversions[:ORDERS]} <= ids
        assert other.word not in data.text
        assert not ids & {*other.conversions}


def test_only_the_first_account_reads_the_balance_of_all(
    merchants: tuple[Merchant, Merchant],
) -> None:
    one, _ = merchants
    assert one.send("GET", one.api.reports + "/v1/balance").status_code == 403
    assert one.api.send("GET", one.api.reports + "/v1/balance").status_code == 200


def test_a_disabled_account_is_refused_within_a_second_and_its_links_go_on(
    api: Api, hooks: HookServer
) -> None:
    merchant = Merchant(api, hooks, "CanaryDisabled")
    merchant.open()
    merchant.order(1)
    token = merchant.ask_token().json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    for host in (api.edge, api.reports):
        mine = httpx2.get(f"{host}/v1/links", headers=bearer)
        assert [link["tracking_code"] for link in mine.json()["data"]] == merchant.codes
    run_command(api, "accounts", "disable", merchant.account)
    for host in (api.edge, api.reports):
        wait_for(
            "its key is refused",
            lambda host=host: merchant.send("GET", host + "/v1/me").status_code == 401,
            1,
        )
        wait_for(
            "its token is refused",
            lambda host=host: httpx2.get(f"{host}/v1/me", headers=bearer).status_code == 401,
            1,
        )
    assert merchant.ask_token().json()["error"] == "invalid_client"
    body = {"tracking_code": merchant.codes[0], "order_id": "late", "order_value": 1}
    assert merchant.send("POST", "/v1/conversions", json=body).status_code == 401
    clicked = api.send("GET", f"/{merchant.codes[0]}", key="-", headers=BROWSER)
    assert clicked.status_code == 302
    assert api.send("GET", "/v1/me").status_code == 200
    run_command(api, "accounts", "enable", merchant.account)
    wait_for(
        "its key is valid again",
        lambda: merchant.send("GET", "/v1/me").status_code == 200,
        1,
    )
    assert merchant.send("GET", "/v1/me").json()["account"] == merchant.account
    assert httpx2.get(f"{api.edge}/v1/me", headers=bearer).json()["account"] == merchant.account
    listed = json.loads(run_command(api, "accounts", "list", "--json"))
    assert listed[0] == {"id": "default", "name": "default", "disabled_at": None}
    assert {"id": merchant.account, "name": merchant.word, "disabled_at": None} in listed


@pytest.mark.parametrize("identity", ["default", "acc_1", "acc_999", "cmp_1", ""])
def test_what_is_no_other_account_cannot_be_disabled(api: Api, identity: str) -> None:
    refused = api.instance.linkjolt("accounts", "disable", identity)
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: ")
    assert api.send("GET", "/v1/me").status_code == 200
