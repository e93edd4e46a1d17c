"""`linkjolt keys` and `linkjolt links` manage a real registry and name every bad line."""

import asyncio
import csv
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from linkjolt.cli.keys import keys
from linkjolt.cli.registry import links
from linkjolt.datasets import Account
from linkjolt.registry.api_key_secrets import is_well_formed
from linkjolt.registry.entries import Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from tests.linkjolt.registry import samples

Run = Callable[..., Awaitable[Result]]
HEADER = "campaign_id,affiliate_id,destination,tracking_code,pass_params,fallback_url"


@pytest.fixture
def run(
    redis: Redis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    monkeypatch.setenv("LINKJOLT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LINKJOLT_REDIS_URL", redis_server.url)
    monkeypatch.setenv("LINKJOLT_PUBLIC_URL", "https://go.example")

    async def invoke(command: click.Command, *arguments: str) -> Result:
        # In a thread, for the command starts an event loop of its own.
        return await asyncio.to_thread(CliRunner().invoke, command, arguments)

    return invoke


@pytest.fixture
async def ready(registry: Registry) -> Registry:
    """A registry with cmp_1 and aff_1."""
    await registry.create(samples.campaign())
    await registry.create(samples.affiliate())
    return registry


async def test_a_made_key_is_listed_until_revoked(run: Run) -> None:
    made = await run(keys, "create", "--name", "shop", "--scope", "postback", "--json")
    answer = json.loads(made.output)
    assert made.exit_code == 0
    assert is_well_formed(answer["key"])
    assert answer["signing_secret"].startswith("lj_sign_")
    (listed,) = json.loads((await run(keys, "list", "--json")).output)
    assert (listed["id"], listed["scopes"]) == (answer["id"], ["postback"])
    revoked = await run(keys, "revoke", answer["id"])
    assert (revoked.exit_code, revoked.output) == (0, f"{answer['id']} revoked\n")
    assert json.loads((await run(keys, "list", "--json")).output) == []
    assert (await run(keys, "revoke", answer["id"])).exit_code == 1


async def test_keys_are_shown_to_people_without_their_secret(run: Run) -> None:
    made = await run(
        keys,
        *("create", "--name", "shop", "--scope", "links:read", "--scope", "links:write"),
        *("--expires-at", "2099-01-31T00:00:00Z"),
    )
    secret = made.output.split()[1]
    assert is_well_formed(secret)
    listed = (await run(keys, "list")).output
    assert secret not in listed
    assert "shop  links:read,links:write  until 2099-01-31T00:00:00Z" in listed


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--name", "x"], "--scope"),
        (["--name", "x", "--scope", "everything"], "everything"),
        (["--name", "", "--scope", "admin"], "name"),
        (["--name", "x", "--scope", "admin", "--expires-at", "soon"], "expires_at"),
        (["--name", "x", "--scope", "admin", "--expires-at", "2020-01-01T00:00:00Z"], "expires_at"),
    ],
)
async def test_a_bad_key_is_refused_by_what_is_wrong(
    run: Run, arguments: list[str], word: str
) -> None:
    result = await run(keys, "create", *arguments)
    assert result.exit_code in (1, 2)
    assert word in result.output.partition("Error: ")[2]


async def test_an_unavailable_server_is_one_clear_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("redis://127.0.0.1:1/0", "nonsense"):
        monkeypatch.setenv("LINKJOLT_REDIS_URL", url)
        result = await run(keys, "list")
        assert result.exit_code == 1
        assert result.output.startswith("Error: ")
        assert result.output.count("\n") == 1


async def test_good_lines_go_in_and_bad_ones_are_named(
    run: Run, ready: Registry, tmp_path: Path
) -> None:
    file = tmp_path / "links.csv"
    lines = [
        HEADER,
        "cmp_1,aff_1,https://shop.example/,one,,",
        "cmp_1,aff_1,ftp://shop.example/,two,,",
        'cmp_1,aff_1,https://shop.example/,,"sub1 sub2",https://shop.example/over',
        "cmp_9,aff_1,https://shop.example/,three,none,",
        "cmp_1,aff_1,https://shop.example/,one,none,",
        "cmp_1,,https://shop.example/,four,none,",
        "cmp_1,aff_1,https://shop.example/,five,none,,,more",
        "cmp_1,aff_1,https://go.example/one,six,,",
    ]
    file.write_text("\n".join(lines), encoding="utf-8-sig")
    result = await run(links, "import", str(file))
    assert result.exit_code == 1
    named = [line for line in result.stderr.splitlines() if line.startswith("line ")]
    assert [line.rpartition(": ")[0] for line in named] == [
        "line 3: destination",
        "line 5: campaign_id",
        "line 6: tracking_code",
        "line 7: affiliate_id",
        "line 8",
        "line 9: destination",
    ]
    assert result.stdout == "2 links imported, 6 lines refused\n"
    stored = [link async for link in ready.iterate(Link, Account(1))]
    assert stored[0].tracking_code == "one"
    assert stored[1].pass_params == ("sub1", "sub2")
    assert stored[1].fallback_url == "https://shop.example/over"


async def test_a_clean_file_ends_well(run: Run, ready: Registry, tmp_path: Path) -> None:
    file = tmp_path / "links.csv"
    rows = [f"https://shop.example/{index},aff_1,cmp_1" for index in range(1200)]
    file.write_text("destination,affiliate_id,campaign_id\n" + "\n".join(rows))
    result = await run(links, "import", str(file))
    assert (result.exit_code, result.stdout) == (0, "1200 links imported, 0 lines refused\n")
    stored = [link.destination async for link in ready.iterate(Link, Account(1))]
    assert stored == [f"https://shop.example/{index}" for index in range(1200)]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "campaign_id"),
        (b"campaign_id,affiliate_id\n", "destination"),
        (HEADER.encode() + b",colour\n", "colour"),
        (HEADER.encode() + b"\ncmp_1,aff_1,https://shop.example/\xff,,,\n", "line"),
    ],
)
async def test_a_file_that_is_no_such_csv_is_refused_whole(
    run: Run, ready: Registry, tmp_path: Path, content: bytes, word: str
) -> None:
    file = tmp_path / "links.csv"
    file.write_bytes(content)
    result = await run(links, "import", str(file))
    assert result.exit_code == 1
    assert word in result.output
    assert [link async for link in ready.iterate(Link, Account(1))] == []


async def test_an_export_is_the_same_csv_with_urls(
    run: Run, ready: Registry, tmp_path: Path
) -> None:
    source = tmp_path / "in.csv"
    lines = [
        HEADER,
        'cmp_1,aff_1,"https://shop.example/?a=1,2",one,none,https://shop.example/over',
        "cmp_1,aff_1,https://shop.example/?c={click_id},two,sub1 sub2,",
    ]
    source.write_text("\n".join(lines))
    assert (await run(links, "import", str(source))).exit_code == 0
    exported = await run(links, "export")
    rows = list(csv.DictReader(exported.stdout.splitlines()))
    assert [row.pop("url") for row in rows] == ["https://go.example/one", "https://go.example/two"]
    assert rows == list(csv.DictReader(lines))
    target = tmp_path / "out.csv"
    assert (await run(links, "export", str(target))).exit_code == 0
    assert target.read_text() == exported.stdout


async def test_an_export_can_be_imported_again(run: Run, ready: Registry, tmp_path: Path) -> None:
    await ready.create(samples.link("one"))
    file = tmp_path / "out.csv"
    await run(links, "export", str(file))
    file.write_text(file.read_text().replace("one", "two"))
    assert (await run(links, "import", str(file))).exit_code == 0
    codes = [link.tracking_code async for link in ready.iterate(Link, Account(1))]
    assert codes == ["one", "two"]
