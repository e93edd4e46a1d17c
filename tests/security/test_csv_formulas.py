"""No spreadsheet runs a text of a CSV as a formula, however it is split; no text is lost."""

import asyncio
import csv
import io
import re
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from linkjolt.api.csv_cells import csv_line, escape, unescape
from linkjolt.api.links_csv import read_rows
from linkjolt.cli.registry import links
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.registry.entries import Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from tests.linkjolt.registry import samples

_RISKY = "=+-@\uff1d\uff0b\uff0d\uff20"
TEXTS = st.text(st.sampled_from([*_RISKY, *"';,|\t\r\n\" \xa0\x0b\ufeffa1"]), max_size=12)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain, text", '"plain, text"'),
        ("=1", '"\'=1"'),
        ("'=1", "\"''=1\""),
        ("''=1", "\"'''=1\""),
        ("it's -5", '"it\'s -5"'),
        ("+1", '"\'+1"'),
        ("-1", '"\'-1"'),
        ("@a", '"\'@a"'),
        ("\t=1", "\"'\t'=1\""),
        ("\r=1", "\"'\r'=1\""),
        ("\n=1", "\"'\n'=1\""),
        ("\na", '"\'\na"'),
        *((f"{wide}1", f'"\'{wide}1"') for wide in "\uff1d\uff0b\uff0d\uff20"),
        ("x;=1+1", '"x;\'=1+1"'),
        (";=1", '";\'=1"'),
        ("x\t=1", '"x\t\'=1"'),
        ("x\n@a", '"x\n\'@a"'),
        ("x|-1", '"x|\'-1"'),
        ("x,+1", '"x,\'+1"'),
        ('x; "=1', '"x; ""\'=1"'),
        ('="', '"\'="""'),
        ("", '""'),
        ("https://shop.example/?a=1&b=-2", '"https://shop.example/?a=1&b=-2"'),
    ],
)
def test_a_text_is_quoted_and_its_formulas_are_texts(text: str, cell: str) -> None:
    assert csv_line([text]) == f"{cell}\r\n"
    assert unescape(escape(text)) == text


def test_numbers_are_numbers() -> None:
    row = [-5, Decimal("-0.10"), 0.25, True, None, datetime(2026, 1, 1, tzinfo=UTC), ["a", "=b"]]
    assert csv_line(row) == '-5,-0.10,0.25,true,,"2026-01-01T00:00:00Z","a =b"\r\n'
    assert csv_line(["-5"]) == '"\'-5"\r\n'


@given(TEXTS)
def test_every_text_is_restored(text: str) -> None:
    assert unescape(escape(text)) == text
    [[cell]] = csv.reader(io.StringIO(csv_line([text]), newline=""))
    assert unescape(cell) == text


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_no_part_of_a_line_begins_a_formula_wherever_it_is_split(row: list[str]) -> None:
    for part in re.split(r"[;,|\t\r\n]", csv_line(row)):
        begin = part.lstrip('" \xa0\x0b\ufeff')
        assert not begin.startswith(tuple(_RISKY)), (row, part)


def test_a_long_text_is_escaped_in_no_time() -> None:
    for character in ("\t", ";", '"', " ", "'"):
        text = character * 200_000
        started = time.perf_counter()
        assert unescape(escape(text)) == text
        # Were it quadratic, it would take minutes.
        assert time.perf_counter() - started < 5


async def test_exported_links_are_imported_as_they_were(
    redis: Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    registry = Registry(redis)
    await registry.create(samples.campaign("One", account=ACCOUNT_DEFAULT))
    await registry.create(samples.affiliate("Ann", account=ACCOUNT_DEFAULT))
    destinations = [
        "https://shop.example/a?x=1,=2;-3;'=4|@b&c='d",
        "https://shop.example/a?q=it's;'quoted",
        'https://shop.example/{sub1}?a="=1"',
    ]
    for number, destination in enumerate(destinations):
        link = msgspec.structs.replace(
            samples.link(f"tc_{number}"),
            account=ACCOUNT_DEFAULT,
            destination=destination,
            fallback_url=f"{destination}&closed",
            pass_params=("sub1", "-x"),
        )
        await registry.create(link)
    path = str(tmp_path / "links.csv")
    words = [path, "--redis-url", redis_server.url]
    answer = await asyncio.to_thread(CliRunner().invoke, links, ["export", *words])
    assert answer.exit_code == 0, answer.output
    forms = [row.form for row in read_rows(path)]
    stored = [link async for link in registry.iterate(Link, ACCOUNT_DEFAULT)]
    assert len(forms) == 3
    for form, link in zip(forms, stored, strict=True):
        for name in ("destination", "tracking_code", "pass_params", "fallback_url"):
            assert getattr(form, name) == getattr(link, name)
