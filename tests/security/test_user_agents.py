"""User agents, however hostile, keep the loop of aggregator and reports free for reports."""

import itertools
import time
from collections.abc import Callable, Sequence

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.delivery.step import Aggregation
from aggregator.delivery.streams import Streams
from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.rows.batches import EventLine, encode_click_rows
from aggregator.rows.conversions import AlreadyStored, build_conversion_rows
from aggregator.rows.enrich import click_time_ms, utc_day
from linkjolt import redis_keys
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.clicks.user_agent import (
    AGENT_MAX_CHARACTERS,
    build_patterns,
    parse_user_agent,
)
from linkjolt.datasets import Dataset
from linkjolt.events import Click, Conversion
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.clickhouse import ClickHouse
from loadtests.longest_turn import running_clock
from tests.waiting import wait_until

# An aggregator held the loop for 3.6 s while it read the agents of this test.
TURN_MAX_SECONDS = 0.5
HOSTILE = 4_000
ORDINARY = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/126.{}.0.0 Safari/537.36"
)
# Each is repeated up to the length at which agents are cut.
REPEATED = [
    *("_", "a", "a.", "bo", "1", "-", ".", "Android", "AndroidAppleWebKi", "xspide", "crawle"),
    *("CFNetwork", "AFTAAAAA", "KFAAAAAAA", "smart-", "compatible; ", "http://bsalsa.com", "a@"),
    *("feed ", "apple ", "\u00e9", "\u017f", "(y) okhttp", "Version/1", "; "),
]
_ids = ClickIdGenerator(1, b"k" * 32)
# Above those of the agents that are parsed again.
_numbers = itertools.count(1_000)


class Number(msgspec.Struct, frozen=True):
    n: int


def a_click(user_agent: str) -> Click:
    return Click(
        click_id=_ids.make(7),
        account=Dataset(1),
        link=7,
        campaign=1,
        affiliate=1,
        user_agent=user_agent,
    )


def hostile_agent(repeated: str, before: str = "") -> str:
    number = f"{before}{{{next(_numbers)}}}"
    return (number + repeated * AGENT_MAX_CHARACTERS)[:AGENT_MAX_CHARACTERS]


def ordinary_agent() -> str:
    return ORDINARY.format(next(_numbers))


def _best_seconds(agent: Callable[[], str]) -> float:
    """Measures the shortest time in which a new agent of a kind is parsed."""
    agents = [agent() for _ in range(30)]
    times: list[float] = []
    for user_agent in agents:
        began = time.perf_counter()
        parse_user_agent(user_agent)
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.mark.parametrize("before", ["", "Mozilla/"])
@pytest.mark.parametrize("repeated", REPEATED)
def test_no_agent_takes_much_longer_than_an_ordinary_one(repeated: str, before: str) -> None:
    build_patterns()
    ordinary = _best_seconds(ordinary_agent)
    # The worst was 15 times as dear.
    assert _best_seconds(lambda: hostile_agent(repeated, before)) < 6 * ordinary


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("_" * 400 + "bot", "_" * 40),
        ("x" * 400 + "-mybot/2", "x" * 38 + "-m"),
        ("x-" * 10 + "mybot/2", "x-" * 10 + "mybot"),
        ("a " + "z" * 45 + "crawler wwwspider", "z" * 40),
        ("QbotQbots Zspider", "Zspider"),
    ],
)
def test_a_bot_is_named_by_the_first_word_that_ends_so(agent: str, name: str) -> None:
    assert parse_user_agent(agent).crawler == name


async def _fill(redis: Redis, agents: Sequence[str]) -> None:
    lines = [msgspec.json.encode(a_click(agent)) for agent in agents]
    for at in range(0, len(lines), 500):
        await redis.xadd(redis_keys.clicks(0).key, {"f": b"\n".join(lines[at : at + 500])})


async def test_hostile_agents_are_stored_in_many_turns(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    build_patterns()
    await _fill(redis, [hostile_agent("_") for _ in range(HOSTILE)])
    settings = AggregatorSettings(slice_ms=50)
    aggregation = Aggregation(Streams(redis), clickhouse, VisitorSalts(redis, 72), settings)

    async def stored() -> bool:
        await aggregation.step()
        rows = await clickhouse.read("SELECT count() AS n FROM clicks WHERE account = 1", Number)
        return rows[0].n == HOSTILE

    async with running_clock() as clock:
        await wait_until(stored)
    assert clock.longest_seconds < TURN_MAX_SECONDS


async def test_rows_of_an_ordinary_batch_are_made_in_many_turns() -> None:
    clicks = [a_click(ORDINARY.format(number % 50)) for number in range(20_000)]
    lines = [EventLine(1 + at // 200, at % 200, b"", False) for at in range(len(clicks))]
    salts = {utc_day(click_time_ms(click.click_id)): b"salt" for click in clicks}
    async with running_clock() as clock:
        pieces = await encode_click_rows(zip(lines, clicks, strict=True), 0, salts, (), [])
    assert sum(piece.count(b"\n") for piece in pieces) == len(clicks)
    assert clock.turns > 4


async def test_rows_of_conversions_are_made_in_many_turns() -> None:
    facts = [
        Conversion(
            conversion_id=f"conv_{number:026}",
            account=Dataset(1),
            event="sale",
            time_ms=1_780_000_000_000,
            currency="USD",
            order_value_minor=9999,
            commission_minor=2999,
            status="pending",
            attribution="tracking_code",
            order_id=f"order_{number}",
            campaign=2,
            affiliate=3,
        )
        for number in range(10_000)
    ]
    events = [(EventLine(1 + at, 0, b"", False), fact) for at, fact in enumerate(facts)]
    async with running_clock() as clock:
        rows, _ = await build_conversion_rows(events, 1, AlreadyStored({}, ()))
    assert len(rows) == len(facts)
    assert clock.turns > 4
