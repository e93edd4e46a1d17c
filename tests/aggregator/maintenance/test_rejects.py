"""A reject can be found and read, and counts once when it is replayed."""

from datetime import UTC, datetime

import msgspec
import pytest

from aggregator.maintenance import rejects as rejects_module
from aggregator.maintenance.rejects import (
    list_rejects,
    mark_replayed,
    parse_place,
    place_of,
    read_reject,
    replay,
    replay_all,
    replay_refusal,
)
from aggregator.rows.batches import EventLine, Reject, encode_click_rows, redact_body
from aggregator.rows.rows import ClickRow
from aggregator.warehouse.writer import Warehouse
from linkjolt.datasets import Dataset
from linkjolt.events import Click
from linkjolt.reasons import Reason, Rejected
from tests.aggregator.conftest import Line, now_ms

BODIES = [
    (b'{"ip":"203.0.113.9","n":1.50}', '{"ip":"203.0.113.0","n":1.5}'),
    (b'{"ip":"2001:db8:1:2::3"}', '{"ip":"2001:db8:1::"}'),
    (b'{"ip":7}', '{"ip":""}'),
    (b'[{"click":{"ip":"203.0.113.9"}}]', '[{"click":{"ip":"203.0.113.0"}}]'),
    (b'{"n": 1.50}', '{"n": 1.50}'),
    (b"not json \xff", "not json \ufffd"),
    (b"x" * 5_000, "x" * 2_000),
    (b"[" * 100_000, "[" * 2_000),
]


@pytest.mark.parametrize(("text", "body"), BODIES, ids=lambda value: str(value)[:20])
def test_a_rejects_body_holds_no_whole_address(text: bytes, body: str) -> None:
    assert redact_body(text) == body


async def rejected(line: Line, count: int = 1) -> list[Reject]:
    """Makes rejects that a later version can read: their bodies are corrected."""
    for _ in range(count):
        await line.clicks.publish('{"click_id": 7}')
    await line.step_until_idle()
    broken = await list_rejects(line.clickhouse, limit=count)
    mended = [
        msgspec.structs.replace(reject, body=msgspec.json.encode(line.make_click()).decode())
        for reject in broken
    ]
    await Warehouse(line.clickhouse).insert_rejects(mended)
    return mended


async def counted(line: Line) -> tuple[int, int, int]:
    audit = await line.audit()
    assert audit.clean
    clicks = audit.balance.streams[0]
    return clicks.accepted, clicks.stored, clicks.rejected


async def test_rejects_are_listed_newest_first_by_reason_and_found_by_place(line: Line) -> None:
    rejects = await rejected(line, 3)
    assert await list_rejects(line.clickhouse, limit=10) == rejects
    assert await list_rejects(line.clickhouse, limit=2) == rejects[:2]
    assert await list_rejects(line.clickhouse, limit=10, reason="repeated_event") == []
    place = parse_place(str(place_of(rejects[1])))
    assert await read_reject(line.clickhouse, place) == rejects[1]
    with pytest.raises(Rejected, match="there is no reject 0/1/2"):
        await read_reject(line.clickhouse, parse_place("0/1/2"))


@pytest.mark.parametrize("text", ["", "1/2", "1/2/x", "a/b/c", "1/2/3/4", "-1/2/3", "1/²/3"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(Rejected):
        parse_place(text)


async def test_a_replayed_reject_is_a_new_event_and_stays_a_reject(line: Line) -> None:
    [reject] = await rejected(line)
    done = await replay(line.redis, line.clickhouse, reject, force=False)
    assert done.refusal == ""
    await line.step_until_idle()
    assert await counted(line) == (2, 1, 1)
    [after] = await list_rejects(line.clickhouse, limit=10)
    assert (after.reason, after.body) == (reject.reason, reject.body)
    assert after.message.startswith("replayed at 20")
    assert after.message.endswith(reject.message)


async def test_a_reject_is_not_replayed_twice_and_by_force_it_is_stored_once(line: Line) -> None:
    [reject] = await rejected(line)
    await replay(line.redis, line.clickhouse, reject, force=False)
    await line.step_until_idle()
    again = await read_reject(line.clickhouse, place_of(reject))
    refused = await replay(line.redis, line.clickhouse, again, force=False)
    assert "replayed before" in refused.refusal
    assert (await replay(line.redis, line.clickhouse, again, force=True)).refusal == ""
    await line.step_until_idle()
    assert await counted(line) == (3, 1, 2)


async def test_all_pending_rejects_are_replayed_page_by_page(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejects_module, "_PAGE", 2)
    await rejected(line, 5)
    await line.clicks.publish("not json")
    await line.step_until_idle()
    done = await replay_all(line.redis, line.clickhouse, reason="", force=False)
    assert [bool(result.refusal) for result in done] == [True, *[False] * 5]
    await line.step_until_idle()
    assert await counted(line) == (11, 5, 6)
    left = await replay_all(line.redis, line.clickhouse, reason="undecodable", force=False)
    assert [result.refusal.startswith("it still cannot be read") for result in left] == [True]


async def test_a_rejected_conversion_is_replayed_on_its_own_stream(line: Line) -> None:
    conversion = line.make_conversion(1)
    reject = Reject(1, 5 << 20, 0, Dataset(1), Reason.undecodable, "", _text(conversion))
    assert (await replay(line.redis, line.clickhouse, reject, force=False)).refusal == ""
    await line.step_until_idle()
    stored = "count()) AS n FROM conversions WHERE conversion_id = "
    assert await line.count(f"{stored}'{conversion.conversion_id}'") == 1


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


@pytest.mark.parametrize("reason", [Reason.repeated_event, Reason.repeated_order])
def test_what_is_stored_already_cannot_be_replayed(reason: Reason) -> None:
    assert "nothing to replay" in replay_refusal(
        Reject(0, 1, 0, Dataset(1), reason, "", "{}"), force=True
    )


def test_a_click_without_a_click_id_cannot_be_replayed() -> None:
    body = _text(Click(click_id="X", account=Dataset(1), link=1, campaign=1, affiliate=1))
    reject = Reject(0, 1, 0, Dataset(1), Reason.undecodable, "", body)
    assert replay_refusal(reject, force=False) == "it still cannot be read: is no click id"


def test_a_note_replaces_the_note_before_it() -> None:
    reject = Reject(0, 1, 0, Dataset(1), Reason.undecodable, "no; good", "{}")
    at = datetime(2026, 11, 23, tzinfo=UTC)
    once = mark_replayed(reject, at)
    assert once.message == "replayed at 2026-11-23T00:00:00Z; no; good"
    assert mark_replayed(once, at) == once


async def test_a_click_that_stands_twice_in_one_batch_is_stored_once(line: Line) -> None:
    click = line.make_click()
    events = [(EventLine(pos, 0, b"{}", pos > 1), click) for pos in (1, 2)]
    day = datetime.fromtimestamp(now_ms() / 1000, UTC).date().isoformat()
    rejects: list[Reject] = []
    text = b"".join(await encode_click_rows(events, 0, {day: b"salt"}, (), rejects))
    rows = [msgspec.json.decode(row, type=ClickRow) for row in text.splitlines()]
    assert ([row.pos for row in rows], [reject.pos for reject in rejects]) == ([1], [2])
