"""What a click that waits for the aggregator costs Redis: under load and at a trickle."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec

from linkjolt import redis_keys
from linkjolt.storage.redis import call, connect
from loadtests.bench import traffic
from loadtests.bench.linkjolt_peer import EDGE, ask
from loadtests.bench.loads import all_clicks, steady_clicks
from loadtests.bench.peer import Place, Serving
from loadtests.bench.plan import Failed, Plan
from loadtests.bench.rows import Row, judged
from loadtests.bench.streams import events_in, open_redis
from loadtests.bench.turn import Load, event_problem

_BYTES_MAX = 400
# One click at a time, and still so many that what Redis needs once is little beside them.
_TRICKLE_PER_SECOND = 100.0
_TRICKLE_SECONDS = 30
_LOOKS = 20
_LOOK_SECONDS = 0.1


class Held(msgspec.Struct, frozen=True):
    """Redis's bytes when it is quiet, the stream's own among them, and what the stream holds."""

    used: int
    stream: int
    entries: int
    events: int


async def look(url: str) -> Held:
    """Buffers of connections come and go: the least of two seconds counts."""
    key = redis_keys.clicks(0).key
    async with connect(url) as redis:
        used: list[int] = []
        for _ in range(_LOOKS):
            used.append((await call(redis, "INFO", "memory"))["used_memory"])
            await asyncio.sleep(_LOOK_SECONDS)
        stream: int | None = await call(redis, "MEMORY", "USAGE", key, "SAMPLES", "0")
        entries: int = await call(redis, "XLEN", key)
    return Held(min(used), stream or 0, entries, await events_in(url, key, 0))


def memory(plan: Plan) -> list[Row]:
    """Frames of a busy edge hold many clicks, those of an idle one a single click each."""
    trickle = msgspec.structs.replace(plan, seconds=max(plan.seconds, _TRICKLE_SECONDS))
    steady = partial(steady_clicks, per_second=_TRICKLE_PER_SECOND)
    return [
        waiting(plan, "as fast as the edge takes them", all_clicks),
        waiting(trickle, f"at {_TRICKLE_PER_SECOND:g}/s", steady),
    ]


def waiting(plan: Plan, how: str, load: Callable[[Plan, Serving], Load]) -> Row:
    """Clicks of one load, with no aggregator to take them away."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(dir=plan.folder)))
        url, _ = opened.enter_context(open_redis(folder / "redis", plan.cores.redis, "always"))
        serving = opened.enter_context(EDGE.serve(Place(folder, url, plan.cores)))
        for code in traffic.CODES:
            ask(serving.port, f"/{code}", headers=traffic.HEADERS)
        before = asyncio.run(look(url))
        done = load(plan, serving)
        wanted = before.events + done.answered
        events = asyncio.run(events_in(url, redis_keys.clicks(0).key, wanted)) - before.events
        after = asyncio.run(look(url))
    problem = event_problem(done.answered, events, done.cut)
    problems = (*done.problems, *([problem] if problem else []))
    return row_of(how, before, after, problems)


def row_of(how: str, before: Held, after: Held, problems: Sequence[str]) -> Row:
    """What came between two looks, by the events that came."""
    events = after.events - before.events
    if events <= 0:
        raise Failed("no click came into the stream")
    figure = (after.used - before.used) / events
    stream = (after.stream - before.stream) / events
    frames = after.entries - before.entries
    return Row(
        name=f"Redis memory for each waiting click, clicks {how}",
        target=f"<= {_BYTES_MAX} bytes",
        figure=f"{figure:.0f} bytes",
        verdict=judged(figure <= _BYTES_MAX, problems),
        detail=(
            f"{events:,} clicks in {frames:,} entries of the stream, {events / frames:.1f} each",
            f"of the {figure:.0f} bytes of used_memory {stream:.0f} are the stream's own",
            *problems,
        ),
    )
