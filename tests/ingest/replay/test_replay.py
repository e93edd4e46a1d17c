"""`linkjolt replay` turns a log into links and clicks."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from ingest.replay.client import EdgeAddress
from ingest.replay.replay import destination_of, ensure_links, replay, replay_log, tracking_code_of
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.registry.checks import check_url
from linkjolt.registry.entries import Affiliate, Campaign, Link
from linkjolt.registry.store import Registry
from linkjolt.registry.tracking_codes import check_tracking_code
from linkjolt.runtime.redis_server import RedisServer
from tests.ingest.replay.edge import RecordingEdge, serving

E = TypeVar("E", Campaign, Affiliate, Link)
NOW = datetime(2025, 1, 15, tzinfo=UTC)
ODD_PATHS = (
    "/",
    "//",
    "/a b",
    "/blog/tags/c++",
    "/100%",
    "/%4",
    "/a%20b",
    "/{click_id}/{x}",
    '/"<>\\^`|',
    "/caf\xc3\xa9",
    "/" + "y" * 5000,
    "/" + "%E8" * 2000,
    "/@host:80/;a=b&c",
)


def write_log(folder: Path, *requests: str) -> str:
    lines = [
        f'203.0.113.{n} - - [17/May/2015:10:05:03 +0000] "{request}" 200 1 "-" "Agent/1.0"'
        if request.startswith(("GET", "HEAD", "POST"))
        else request
        for n, request in enumerate(requests)
    ]
    file = folder / "access.log"
    file.write_text("\n".join(lines) + "\n", encoding="latin-1")
    return str(file)


async def everything(registry: Registry, kind: type[E]) -> list[E]:
    return [entry async for entry in registry.iterate(kind, ACCOUNT_DEFAULT)]


@pytest.mark.parametrize("path", ODD_PATHS)
def test_every_path_makes_a_valid_link(path: str):
    check_tracking_code(tracking_code_of(path))
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}-[0-9a-f]{8}", tracking_code_of(path))
    check_url(destination_of(path), "destination")
    assert destination_of(path).startswith("https://replay.example/")


def test_paths_that_differ_have_links_that_differ():
    paths = [*ODD_PATHS, "/a-b", "/a+b", "/A-b", "/a-b/"]
    assert len({tracking_code_of(path) for path in paths}) == len(paths)


@pytest.mark.parametrize(
    ("path", "destination"),
    [
        ("/a b%20c", "/a%20b%20c"),
        ("/100%", "/100%25"),
        ("/{click_id}", "/%7Bclick_id%7D"),
        ("/caf\xc3\xa9", "/caf%C3%A9"),
    ],
)
def test_a_destination_is_the_path_percent_encoded(path: str, destination: str):
    assert destination_of(path) == "https://replay.example" + destination


async def test_links_are_created_once_under_one_campaign(redis: Redis):
    registry = Registry(redis)
    assert await ensure_links(registry, ["/a", "/b"], NOW) == 2
    assert await ensure_links(registry, ["/b", "/c"], NOW) == 1
    assert await ensure_links(registry, ["/a", "/b", "/c"], NOW) == 0
    (campaign,) = await everything(registry, Campaign)
    (affiliate,) = await everything(registry, Affiliate)
    links = await everything(registry, Link)
    assert [link.tracking_code for link in links] == [
        tracking_code_of(p) for p in ("/a", "/b", "/c")
    ]
    owners = {(link.campaign, link.affiliate) for link in links}
    assert owners == {(campaign.number, affiliate.number)}


async def test_each_line_is_one_request_for_the_link_of_its_path(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = write_log(
        tmp_path, "GET /a HTTP/1.1", "nonsense", "HEAD /b?x=1 HTTP/1.1", "GET /a HTTP/1.1", ""
    )
    edge = RecordingEdge()
    async with serving(edge):
        ok = await replay_log(file, redis_server.url, EdgeAddress(edge.url), 0, asyncio.Event())
    assert ok
    asked = sorted((a.method, a.path, a.headers["x-forwarded-for"]) for a in edge.asked)
    assert asked == [
        ("GET", f"/{tracking_code_of('/a')}", "203.0.113.0"),
        ("GET", f"/{tracking_code_of('/a')}", "203.0.113.3"),
        ("HEAD", f"/{tracking_code_of('/b')}", "203.0.113.2"),
    ]
    shown = capsys.readouterr().out
    for row in (
        r"lines +5",
        r"malformed +2",
        r"line 2 is not in the combined format",
        r"line 5 is empty",
        r"links +2, 2 of them new",
        r"sent +3 in",
        r"accepted +3",
        r"failed +0$",
    ):
        assert re.search(row, shown, re.MULTILINE), row


async def test_only_the_first_malformed_lines_are_named(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = write_log(tmp_path, "GET /a HTTP/1.1", *(["nonsense"] * 50))
    edge = RecordingEdge()
    async with serving(edge):
        await replay_log(file, redis_server.url, EdgeAddress(edge.url), 0, asyncio.Event())
    shown = capsys.readouterr().out
    assert "malformed  50" in shown
    assert shown.count("is not in the combined format") == 5


async def test_a_failed_request_fails_the_replay(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = write_log(tmp_path, "GET /a HTTP/1.1", "GET /b HTTP/1.1")
    edge = RecordingEdge(lambda path, times: 503 if path.startswith("/a-") else 302)
    async with serving(edge):
        assert not await replay_log(
            file, redis_server.url, EdgeAddress(edge.url), 0, asyncio.Event()
        )
    assert "failed     1 (503: 1)" in capsys.readouterr().out


async def test_no_link_is_created_while_no_edge_runs(
    redis: Redis, redis_server: RedisServer, tmp_path: Path
):
    file = write_log(tmp_path, "GET /a HTTP/1.1")
    with pytest.raises(click.ClickException, match="no edge takes connections"):
        await replay_log(
            file, redis_server.url, EdgeAddress("http://127.0.0.1:9"), 0, asyncio.Event()
        )
    assert await everything(Registry(redis), Link) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "0"], "'0' is neither max nor a number above 0"),
        (["--rate", "fast"], "'fast' is neither max nor a number above 0"),
        (["--rate", "nan"], "'nan' is neither max nor a number above 0"),
        (["--edge-url", "localhost"], "no edge takes connections at localhost"),
    ],
)
def test_a_bad_option_is_named(
    arguments: list[str], message: str, tmp_path: Path, redis_server: RedisServer
):
    file = write_log(tmp_path, "GET /a HTTP/1.1")
    result = CliRunner().invoke(replay, [file, "--redis-url", redis_server.url, *arguments])
    assert result.exit_code != 0
    assert message in result.output


def test_without_an_instance_it_says_what_to_start(tmp_path: Path):
    file = write_log(tmp_path, "GET /a HTTP/1.1")
    result = CliRunner().invoke(replay, [file, "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "nothing is running under" in result.output
