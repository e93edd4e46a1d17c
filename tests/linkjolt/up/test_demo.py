"""The demo is created once, is private, and its printed commands can be pasted."""

import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from linkjolt.directory.directory import Directory
from linkjolt.registry import api_key_secrets
from linkjolt.runtime.demo_file import Demo, write_demo
from linkjolt.up.demo import demo_lines, open_demo, show_key

_DEMO = Demo(tracking_code="tc_1", key="lj_live_x", key_number=1)


def directory(redis: Redis) -> Directory:
    return Directory(redis, links_cached=10, unknown_cached=10)


async def test_the_demo_is_made_once(redis: Redis, tmp_path: Path) -> None:
    first = await open_demo(redis, str(tmp_path))
    assert await open_demo(redis, str(tmp_path)) == first


async def test_a_demo_whose_redis_was_emptied_is_made_anew(redis: Redis, tmp_path: Path) -> None:
    first = await open_demo(redis, str(tmp_path))
    await cast(Any, redis).flushall()
    second = await open_demo(redis, str(tmp_path))
    assert second.key != first.key
    assert await directory(redis).route(second.tracking_code)


async def test_the_demo_pays_thirty_per_cent_in_dollars(redis: Redis, tmp_path: Path) -> None:
    demo = await open_demo(redis, str(tmp_path))
    route = await directory(redis).route(demo.tracking_code)
    assert route
    assert route.campaign.currency == "USD"
    rule = msgspec.to_builtins(route.campaign.commission)
    assert rule == {"kind": "percentage", "rate": "30"}


async def test_the_demo_key_works_and_its_secret_is_private(redis: Redis, tmp_path: Path) -> None:
    demo = await open_demo(redis, str(tmp_path))
    key = await directory(redis).key(demo.key)
    assert key
    assert key.digest == api_key_secrets.digest(demo.key)
    assert key.allows("conversions:write")
    assert key.allows("reports:read")
    file = tmp_path / "demo.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_lines_can_be_pasted_into_a_shell() -> None:
    shown = show_key(_DEMO, "data", on_terminal=True)
    lines = demo_lines(_DEMO, shown, "http://h:1", "http://h:2", "order_7").splitlines()
    click, conversion, report = (shlex.split(line) for line in lines if line.startswith("curl "))
    assert click[:3] == ["curl", "-i", "-A"]
    assert "Firefox" in click[3]
    assert click[4:] == ["http://h:1/tc_1?sub1=demo"]
    assert conversion[:2] == ["curl", "-i"]
    assert "http://h:1/v1/conversions" in conversion
    assert conversion[conversion.index("-H") + 1] == "Authorization: Bearer lj_live_x"
    assert msgspec.json.decode(conversion[conversion.index("-d") + 1]) == {
        "tracking_code": "tc_1",
        "order_value": 99.99,
        "order_id": "order_7",
    }
    assert report[-1] == "http://h:2/v1/reports?group_by=link"


def test_only_a_terminal_is_shown_the_key(tmp_path: Path) -> None:
    data = tmp_path / "the 'data'"
    data.mkdir()
    write_demo(str(data), _DEMO)
    assert show_key(_DEMO, str(data), on_terminal=True).words == _DEMO.key
    shown = show_key(_DEMO, str(data), on_terminal=False)
    lines = demo_lines(_DEMO, shown, "http://h:1", "http://h:2", "order_7")
    assert _DEMO.key not in lines
    assert str(data / "demo.json") in lines
    # The commands read it themselves.
    report = next(line for line in lines.splitlines() if line.endswith("group_by=link'"))
    printed = subprocess.run(
        ["sh", "-c", report.replace("curl", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"Authorization: Bearer {_DEMO.key}\n" in printed.stdout
