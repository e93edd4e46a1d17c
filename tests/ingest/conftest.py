"""Provides an edge in this process, with a campaign, an affiliate, a link and keys."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx2
import msgspec
import pytest
from redis.asyncio import Redis

from ingest.app import create_app, open_edge
from ingest.edge import Edge
from ingest.publishing.spool import Spool
from ingest.publishing.spool_files import open_spool
from ingest.publishing.stream_producer import new_producer
from linkjolt import datasets, redis_keys
from linkjolt.events import Adjustment, Click, Conversion
from linkjolt.money import Percentage
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.redis import read_stream
from linkjolt.stream_lines import Fact, parse_fact
from tests.ingest.producers import MAX_BYTES

DESTINATION = "https://shop.example/p?ref={affiliate_id}"


@dataclass
class Shop:
    """An edge with one link, its client, and the events it has published."""

    edge: Edge
    redis: Redis
    registry: Registry
    client: httpx2.AsyncClient
    link: Link
    key: str

    async def add_link(self, **fields: object) -> Link:
        """Creates another link of the same campaign and affiliate."""
        link = msgspec.structs.replace(self.link, **{"number": 0, "tracking_code": "", **fields})
        return await self.registry.create(link)

    async def clicks(self) -> list[Click]:
        lines = await self._lines(redis_keys.clicks(0))
        return [msgspec.json.decode(line, type=Click) for line in lines]

    async def conversions(self) -> list[Conversion]:
        return [fact for fact in await self.facts() if isinstance(fact, Conversion)]

    async def adjustments(self) -> list[Adjustment]:
        return [fact for fact in await self.facts() if isinstance(fact, Adjustment)]

    async def facts(self) -> list[Fact]:
        """Reads conversions and their adjustments in stream order."""
        return [parse_fact(line) for line in await self._lines(redis_keys.conversions(0))]

    async def _lines(self, stream: redis_keys.Stream) -> list[bytes]:
        rows = await read_stream(self.redis, stream.key, "-")
        return [line for _, fields in rows for line in fields[b"f"].split(b"\n")]

    async def post(
        self, body: object, key: str = "", path: str = "/v1/conversions", **headers: str
    ) -> httpx2.Response:
        """Posts a conversion, or another path's body, under the shop's key or another."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent = {
            "Authorization": f"Bearer {key or self.key}",
            "Content-Type": "application/json",
            **headers,
        }
        return await self.client.post(path, content=content, headers=sent)

    async def get(self, path: str, key: str = "") -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return await self.client.get(path, headers=headers)


async def make_key(registry: Registry, scopes: Sequence[str], **fields: object) -> str:
    """Creates a key and returns its secret."""
    secret = api_key_secrets.make_secret(test=bool(fields.get("test")))
    entry = ApiKey(
        number=0,
        account=datasets.ACCOUNT_DEFAULT,
        name="test",
        scopes=tuple(scopes),
        digest=api_key_secrets.digest(secret),
        hint=api_key_secrets.hint(secret),
        created_at=datetime.now(UTC),
    )
    await registry.create(msgspec.structs.replace(entry, **fields))
    return secret


async def add_campaign(shop: Shop, **fields: object) -> Link:
    """Creates another campaign like the shop's, and a link of it."""
    first = await shop.registry.get(Campaign, datasets.ACCOUNT_DEFAULT, shop.link.campaign)
    campaign = await shop.registry.create(msgspec.structs.replace(first, **{"number": 0, **fields}))
    return await shop.add_link(campaign=campaign.number)


async def make_link(registry: Registry) -> Link:
    """Creates a link of a new campaign (30 %, USD) and a new affiliate."""
    now, account = datetime.now(UTC), datasets.ACCOUNT_DEFAULT
    campaign = await registry.create(
        Campaign(
            number=0,
            account=account,
            name="Spring",
            currency="USD",
            commission=Percentage(rate=Decimal(30)),
            created_at=now,
        )
    )
    affiliate = await registry.create(
        Affiliate(number=0, account=account, name="Ann", created_at=now)
    )
    link = Link(
        number=0,
        account=account,
        campaign=campaign.number,
        affiliate=affiliate.number,
        tracking_code="tc_ABC123",
        destination=DESTINATION,
        created_at=now,
    )
    return await registry.create(link)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncGenerator[Spool]:
    opened = open_spool(tmp_path, MAX_BYTES, new_producer)
    yield opened
    await opened.close()


@pytest.fixture
async def shop(redis: Redis, redis_server: RedisServer, tmp_path: Path) -> AsyncGenerator[Shop]:
    registry = Registry(redis)
    link = await make_link(registry)
    key = await make_key(registry, ["conversions:write", "payouts:write", "links:write"])
    # A long time-out: a machine busy with other tests must not look like an outage.
    settings = Settings(
        redis_url=redis_server.url,
        data=str(tmp_path),
        redis_timeout_seconds=5,
        country_header="CF-IPCountry",
        region_header="CF-Region-Code",
    )
    async with open_edge(settings, asyncio.Event()) as edge:
        transport = httpx2.ASGITransport(app=create_app(edge))
        async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as client:
            registry.sealer = edge.sealer
            yield Shop(edge, redis, registry, client, link, key)
