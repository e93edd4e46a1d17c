"""The document of the reports listener has every route."""

import asyncio
from typing import cast

from redis.asyncio import Redis
from starlette.routing import Route

from linkjolt.directory.directory import Directory
from linkjolt.settings import ReportsSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse
from reports.app import create_app
from reports.operations import operations
from tests.reports.conftest import Client


def test_every_route_of_the_listener_has_its_place_in_the_document(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    directory = Directory(redis, links_cached=1, unknown_cached=1)
    app = create_app(Settings(), redis, clickhouse, directory, asyncio.Event())
    served = {
        (method, route.path.replace(":path", ""))
        for route in cast(list[Route], app.routes)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert served == {(one.method, one.path) for one in operations()}


async def test_the_document_is_served(client: Client) -> None:
    document = (await client.http.get("/openapi.json")).json()
    assert "/v1/reports" in document["paths"]
    assert (await client.http.get("/docs")).status_code == 200
    page = (await client.http.get("/docs/errors")).text
    assert 'id="too_costly"' in page
    assert "<code>Authorization: Bearer</code>" in page
