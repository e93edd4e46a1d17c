"""A key bound to an affiliate is answered what is of it, in every report, list and feed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.warehouse.registry_mirror import RegistryMirror
from linkjolt.datasets import account_of
from linkjolt.registry import api_key_secrets
from linkjolt.registry.store import Registry
from linkjolt.storage.clickhouse import ClickHouse
from reports.vocabulary import DIMENSIONS, METRICS
from tests.aggregator.rollups.sample import ACCOUNT, insert_clicks, make_sample, store
from tests.linkjolt.registry import samples
from tests.reports.conftest import Client
from tests.reports.live.test_live import Listening, fresh, hear, listening

__all__ = ["listening"]
END = datetime(2026, 11, 10, tzinfo=UTC)
START = END - timedelta(days=4)
PERIOD = {"from": "2026-11-08", "to": "2026-11-10"}
OWN, OTHER = "aff_11", "aff_12"
SCOPES = ("reports:read", "events:read")
Bound = tuple[Client, Client]


async def secret_of(redis: Redis, affiliate: int) -> str:
    secret = api_key_secrets.make_secret()
    key = msgspec.structs.replace(
        samples.key(secret, *SCOPES), account=account_of(ACCOUNT), affiliate=affiliate
    )
    await Registry(redis).create(key)
    return secret


@pytest.fixture
async def bound(
    client: Client, redis: Redis, clickhouse: ClickHouse, mirror: RegistryMirror
) -> AsyncIterator[Bound]:
    """Returns a client whose key is bound to affiliate 11, and one whose key is not."""
    names = [samples.affiliate(f"Name of {n}", account_of(ACCOUNT)) for n in range(1, 13)]
    await Registry(redis).create_many(names)
    await mirror.step()
    await store(clickhouse, make_sample(71, START, END))
    keys = [await secret_of(redis, affiliate) for affiliate in (11, 0)]
    clients = [Client(client.http, secret) for secret in keys]
    yield clients[0], clients[1]


def comparable(answer: dict[str, Any]) -> object:
    return {name: value for name, value in answer.items() if name != "meta"}


async def test_reports_by_every_dimension_are_of_the_affiliate(bound: Bound) -> None:
    asked = {"metrics": ",".join(METRICS), "compare": "previous", **PERIOD}
    groups: list[dict[str, str]] = [{}, *({"group_by": dimension} for dimension in DIMENSIONS)]
    others: list[dict[str, str]] = [{}, {"interval": "day"}, {"time_basis": "click"}]
    asked_for = [*groups, *(group | other for group in groups[:3] for other in others[1:])]
    for more in asked_for:
        own = await bound[0].report(**asked | more)
        filtered = await bound[1].report(**asked | more, affiliate=OWN)
        assert comparable(own) == comparable(filtered)
        assert own["totals"]["clicks"] > 0
        everything = await bound[1].report(**asked | more)
        assert own["totals"]["clicks"] < everything["totals"]["clicks"]
        assert own["totals"]["previous"]["clicks"] < everything["totals"]["previous"]["clicks"]


async def test_no_answer_names_another_affiliate(bound: Bound) -> None:
    grouped = {"group_by": "affiliate,campaign,link", "metrics": "clicks,conversions,revenue"}
    calls: list[tuple[str, dict[str, str]]] = [
        ("/v1/reports", PERIOD | grouped),
        ("/v1/reports", PERIOD | grouped | {"format": "csv"}),
        ("/v1/reports", PERIOD | grouped | {"format": "csv", "limit": "10"}),
        ("/v1/reports/top", PERIOD | {"dimensions": "affiliate,campaign,link,country"}),
        ("/v1/conversions", PERIOD),
        ("/v1/conversions", PERIOD | {"format": "csv"}),
        ("/v1/events", PERIOD | {"limit": "1000"}),
        ("/v1/events", PERIOD | {"format": "csv"}),
    ]
    for path, parameters in calls:
        own, everything = [await one.get(path, **parameters) for one in bound]
        assert own.status_code == 200, own.text
        assert OWN in own.text
        assert "Name of 11" in own.text
        assert OTHER in everything.text
        assert "Name of 12" in everything.text
        assert OTHER not in own.text
        assert "Name of 12" not in own.text


async def test_tops_are_of_the_affiliate(bound: Bound) -> None:
    asked = PERIOD | {"dimensions": "affiliate,country,link,sub1,browser"}
    own = (await bound[0].get("/v1/reports/top", **asked)).json()
    filtered = (await bound[1].get("/v1/reports/top", **asked, affiliate=OWN)).json()
    assert own["data"] == filtered["data"]
    assert [row["affiliate"] for row in own["data"]["affiliate"]] == [OWN]


async def test_lists_are_of_the_affiliate(bound: Bound) -> None:
    for path in ("/v1/conversions", "/v1/events"):
        own = (await bound[0].get(path, **PERIOD, limit=1_000)).json()
        filtered = (await bound[1].get(path, **PERIOD, limit=1_000, affiliate_id=OWN)).json()
        assert own["data"] == filtered["data"]
        assert own["data"]


@pytest.mark.parametrize("chosen", [OTHER, f"-{OWN}", f"{OTHER},-{OWN}", "aff_999"])
async def test_a_filter_on_others_gives_nothing(bound: Bound, chosen: str) -> None:
    for more in ({}, {"group_by": "affiliate"}, {"interval": "day"}, {"group_by": "country"}):
        report = await bound[0].report(**PERIOD, **more, affiliate=chosen, compare="previous")
        sums = [report["totals"], report["totals"]["previous"], *report["data"]]
        assert {row["clicks"] for row in sums} <= {0}
        assert {row["conversions"] for row in sums} <= {0}
    asked = PERIOD | {"dimensions": "affiliate,country", "affiliate": chosen}
    tops = (await bound[0].get("/v1/reports/top", **asked)).json()
    assert tops["data"] == {"affiliate": [], "country": []}
    csv = await bound[0].get(
        "/v1/reports", **PERIOD, group_by="link", affiliate=chosen, format="csv"
    )
    assert len(csv.text.splitlines()) == 1
    if chosen.startswith("aff") and "," not in chosen:
        for path in ("/v1/conversions", "/v1/events"):
            assert (await bound[0].get(path, **PERIOD, affiliate_id=chosen)).json()["data"] == []


async def test_a_filter_with_the_own_one_gives_what_is_of_it(bound: Bound) -> None:
    everything = await bound[0].report(**PERIOD)
    for chosen in (OWN, f"{OTHER},{OWN}", f"-{OTHER}"):
        assert comparable(await bound[0].report(**PERIOD, affiliate=chosen)) == comparable(
            everything
        )


async def test_no_answer_of_one_binding_is_current_for_another(bound: Bound) -> None:
    """Also where both are the same, as for a period without events."""
    for parameters in (PERIOD, {"from": "2026-01-01", "to": "2026-01-02"}):
        own, other = [await one.get("/v1/reports", **parameters) for one in bound]
        assert own.headers["etag"] != other.headers["etag"]
        for one, tag, status in (
            (bound[0], own.headers["etag"], 304),
            (bound[0], other.headers["etag"], 200),
            (bound[1], own.headers["etag"], 200),
        ):
            headers = {"Authorization": f"Bearer {one.secret}", "If-None-Match": tag}
            answer = await one.http.get("/v1/reports", params=parameters, headers=headers)
            assert answer.status_code == status


async def test_the_live_feed_is_of_the_affiliate(
    listening: Listening, clickhouse: ClickHouse, redis: Redis
) -> None:
    sample = fresh(72)
    own = {row.click_id for row in sample.clicks if row.account == 7 and row.affiliate == 11}
    assert 0 < len(own) < len(sample.clicks)
    listening.secret = await secret_of(redis, 11)
    async with listening.live() as events:
        assert (await hear(events, "hello"))[-1][2]["seconds"] == []
        await insert_clicks(clickhouse, sample.clicks)
        heard = await hear(events, "click", len(own))
        heard += await hear(events, "tick", 2)
    assert {data["click_id"] for name, _, data in heard if name == "click"} == own
    assert {data["affiliate"] for name, _, data in heard if name == "click"} == {OWN}
    ticks = [data for name, _, data in heard if name == "tick"]
    assert sum(
        clicks + others for tick in ticks for _, clicks, others, _ in tick["seconds"]
    ) == len(own)
    # The counters of the last half hour, and what was missed, are of the affiliate, too.
    async with listening.live(**{"Last-Event-ID": "0.0"}) as events:
        heard = await hear(events, "tick")
    hello = heard[0][2]["seconds"]
    assert sum(clicks + others for _, clicks, others, _ in hello) == len(own)
    missed = {data["click_id"] for name, _, data in heard if name == "click"}
    assert missed <= own
