"""The reports listener lists the whole log, and sends again from there; an edge asks for it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from linkjolt import redis_keys
from linkjolt.webhooks.deliveries.backlog import REPLAYS_MAX
from linkjolt.webhooks.events import click_event
from linkjolt.webhooks.queue import Delivery
from tests.aggregator.conftest import Line
from tests.aggregator.deliveries.conftest import NOW_MS, Hooks, delivery, names
from tests.linkjolt.api.client import Api, serving

FIRST_MS = NOW_MS - 1_000_000
HOOK = "/v1/webhooks/whk_1"


@pytest.fixture
async def reports(hooks: Hooks) -> AsyncIterator[Api]:
    async with serving(hooks.redis, hooks.log) as api:
        await hooks.endpoint()
        yield api


@pytest.fixture
async def edge(hooks: Hooks, reports: Api) -> AsyncIterator[Api]:
    async with serving(hooks.redis) as api:
        yield api


def instant(number: int) -> str:
    """The instant of the event of `delivery(number)`."""
    return datetime.fromtimestamp((FIRST_MS + number) / 1000, UTC).isoformat()


async def delivered(hooks: Hooks, count: int, *, stored: bool = True) -> None:
    """Delivers the events 0 to `count`."""
    for start in range(0, count, 500):
        page = [delivery(n) for n in range(start, min(start + 500, count))]
        await hooks.enqueue(1, *page)
        await hooks.deliver(1)
    if stored:
        await hooks.store()


async def every_page(api: Api, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        more = f"&cursor={cursor}" if cursor else ""
        page = await api.get(f"{HOOK}/deliveries?limit={limit}{more}")
        assert len(page["data"]) <= limit
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def test_the_reports_listener_lists_all_that_an_edge_has_forgotten(
    hooks: Hooks, reports: Api, edge: Api
) -> None:
    await delivered(hooks, 350)
    # Not stored yet, and pending.
    await hooks.enqueue(1, *(delivery(n) for n in range(350, 500)))
    await hooks.deliver(1)
    await hooks.enqueue(1, *(delivery(n) for n in range(500, 560)))
    found = await every_page(reports, 64)
    assert [one["webhook_id"] for one in found] == [f"msg_{n}" for n in range(559, -1, -1)]
    states = [one["state"] for one in found]
    assert states == ["pending"] * 60 + ["delivered"] * 500
    assert found[-1]["body"] == delivery(0).body
    assert [attempt["answer"] for attempt in found[-1]["tries"]] == ["thanks"]
    known = [one["webhook_id"] for one in await every_page(edge, 64)]
    assert known == [f"msg_{n}" for n in range(559, 399, -1)]
    page = await edge.get(f"{HOOK}/deliveries?limit=1")
    assert page["backlog"] == {"pending": 60, "waiting_since": None}


async def test_a_list_that_grows_meanwhile_repeats_and_skips_nothing(
    hooks: Hooks, reports: Api
) -> None:
    await delivered(hooks, 50)
    page = await reports.get(f"{HOOK}/deliveries?limit=20")
    await hooks.enqueue(1, delivery(60), delivery(61))
    rest = await reports.get(f"{HOOK}/deliveries?limit=100&cursor={page['next_cursor']}")
    found = [one["webhook_id"] for one in (*page["data"], *rest["data"])]
    assert found == [f"msg_{n}" for n in range(49, -1, -1)]


@pytest.mark.parametrize("cursor", ["x", "MTIz", "!!", "MTox", "OTk5OTk5OTk5OTk5OTk5OTk5OjE6eA"])
async def test_a_foreign_cursor_is_refused(reports: Api, cursor: str) -> None:
    refused = await reports.refused("GET", f"{HOOK}/deliveries?cursor={cursor}")
    assert refused == (422, "invalid_field", ["cursor"])


async def claimed(hooks: Hooks, count: int = 5_000) -> list[Delivery]:
    return [one.delivery for one in await hooks.queue.claim(1, NOW_MS * 2, count)]


async def test_one_from_the_log_is_resent_under_its_id(hooks: Hooks, reports: Api) -> None:
    await delivered(hooks, 250)
    answer = await reports.send("POST", f"{HOOK}/deliveries/msg_3/resend")
    assert (answer.status_code, answer.json()) == (202, {"queued": 1})
    [again] = await claimed(hooks)
    assert (again.webhook_id, again.body, again.round) == ("msg_3", delivery(3).body, 1)
    assert (await reports.refused("POST", f"{HOOK}/deliveries/msg_250/resend"))[0] == 404


async def test_a_replay_from_the_log_comes_in_order_and_behind_new_events(
    hooks: Hooks, reports: Api
) -> None:
    await delivered(hooks, 2_600)
    await hooks.enqueue(1, *(delivery(n) for n in range(3_000, 3_010)))
    body = {"from": instant(100), "to": instant(2_500)}
    answer = await reports.send("POST", f"{HOOK}/replay", body)
    assert (answer.status_code, answer.json()) == (202, {"queued": 2_400})
    sent: list[str] = []
    while not sent or await hooks.step() or await hooks.queue.next_due_ms([1]):
        # New events come meanwhile.
        if len(sent) == 510:
            await hooks.enqueue(1, delivery(4_000))
        sent += names(await hooks.deliver(1, 100))
        assert (await hooks.backlog(1)).pending <= 1_200
    fresh = [f"msg_{n}" for n in (*range(3_000, 3_010), 4_000)]
    assert [name for name in sent if name not in fresh] == [f"msg_{n}" for n in range(100, 2_500)]
    assert sent[:10] == fresh[:10]
    assert sent.index("msg_4000") == 510
    await hooks.store()
    assert await hooks.log.count(1, 0, NOW_MS * 2) == 2_611
    assert (await hooks.backlog(1)).ranges == ()


async def test_an_edge_replays_what_it_has_forgotten_too(hooks: Hooks, edge: Api) -> None:
    await delivered(hooks, 300)
    body = {"from": instant(0), "to": instant(300)}
    answer = await edge.send("POST", f"{HOOK}/replay", body)
    # It knows of the last outcomes.
    assert (answer.status_code, answer.json()) == (202, {"queued": 100})
    await hooks.store()
    assert names(await claimed(hooks)) == [f"msg_{n}" for n in range(300)]


async def test_what_is_pending_is_sent_next_by_a_replay(hooks: Hooks, reports: Api) -> None:
    await delivered(hooks, 200)
    await hooks.enqueue(1, delivery(200))
    [one] = await hooks.queue.claim(1, NOW_MS, 1)
    failed = msgspec.structs.replace(one.delivery, attempt=3)
    await hooks.queue.record(1, [(one, failed, NOW_MS * 3)])
    body = {"from": instant(190), "to": instant(300)}
    answer = await reports.send("POST", f"{HOOK}/replay", body)
    assert answer.json() == {"queued": 11}
    await hooks.store()
    [first] = await claimed(hooks)
    assert (first.webhook_id, first.attempt) == ("msg_200", 0)
    assert names(await claimed(hooks)) == [f"msg_{n}" for n in range(190, 200)]


async def test_a_replay_of_all_times_is_one_of_all_there_is(hooks: Hooks, reports: Api) -> None:
    await delivered(hooks, 120)
    body = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}
    answer = await reports.send("POST", f"{HOOK}/replay", body)
    assert (answer.status_code, answer.json()) == (202, {"queued": 120})
    await hooks.store()
    assert len(await claimed(hooks)) == 120
    cursor = "OTk5OTk5OTk5OTk5OTk5OjE6eA"
    assert len((await reports.get(f"{HOOK}/deliveries?cursor={cursor}"))["data"]) == 100


async def test_a_replay_sends_nothing_again_that_was_sent_since(hooks: Hooks, reports: Api) -> None:
    await delivered(hooks, 150)
    body = {"from": instant(0), "to": instant(150)}
    await reports.send("POST", f"{HOOK}/replay", body)
    await hooks.store()
    await hooks.deliver(1)
    hooks.restart()
    await hooks.store()
    assert await claimed(hooks) == []


async def test_replays_take_their_turn_and_are_bounded(hooks: Hooks, reports: Api) -> None:
    await delivered(hooks, 150)
    body = {"from": instant(0), "to": instant(150)}
    for _ in range(REPLAYS_MAX):
        assert (await reports.send("POST", f"{HOOK}/replay", body)).status_code == 202
    assert (await reports.refused("POST", f"{HOOK}/replay", body))[:2] == (409, "limit_reached")
    # What is queued already is not queued twice.
    await hooks.store()
    assert len(await claimed(hooks)) == 150
    assert (await hooks.backlog(1)).ranges == ()


async def test_a_click_is_resent_with_its_body_by_either_listener(
    hooks: Hooks, line: Line, reports: Api, edge: Api
) -> None:
    [click] = await line.click(1, sub1="mail", external_id="x")
    await line.step_until_idle()
    event = click_event(click)
    assert event is not None
    body = event.body.decode()
    one = delivery(1, event="click.created", click_id=click.click_id, body=body)
    await hooks.enqueue(1, one, stream=redis_keys.clicks(0))
    for number, api in enumerate((reports, edge), 1):
        await hooks.deliver(1)
        assert (await edge.get(f"{HOOK}/deliveries"))["data"][0]["body"] is None
        # Once before the log has it, once after.
        if api is edge:
            await hooks.store()
        assert (await reports.get(f"{HOOK}/deliveries"))["data"][0]["body"] == body
        answer = await api.send("POST", f"{HOOK}/deliveries/msg_1/resend")
        assert (answer.status_code, answer.json()) == (202, {"queued": 1})
        await hooks.store()
        [pending] = await hooks.queue.read_pending(1, 10)
        assert (pending.body, pending.round) == (body, number)


async def test_a_full_queue_takes_no_resend_and_no_test(hooks: Hooks, reports: Api) -> None:
    await delivered(hooks, 10)
    # The bound of the listener's own settings.
    for start in range(1_000, 101_000, 5_000):
        await hooks.enqueue(1, *(delivery(n, body="") for n in range(start, start + 5_000)))
    for path in ("deliveries/msg_3/resend", "test"):
        assert (await reports.refused("POST", f"{HOOK}/{path}"))[:2] == (409, "limit_reached")
