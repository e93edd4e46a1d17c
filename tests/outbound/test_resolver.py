"""Host names are looked up once at a time, in time, and without delaying one another."""

import asyncio
import threading
from collections import Counter
from collections.abc import Generator

import pytest

from outbound import resolver
from outbound.resolver import ResolveFailed, Resolver
from tests.waiting import wait_until


class Names:
    """A name server that hangs for names of `hang.example` and counts what it is asked."""

    def __init__(self) -> None:
        self.asked = Counter[str]()
        self.released = threading.Event()

    def look_up(self, host: str) -> list[str]:
        self.asked[host] += 1
        if host.endswith("hang.example"):
            self.released.wait(30)
        if host == "fails.example":
            raise OSError
        return ["127.0.0.1"]


@pytest.fixture
def names() -> Generator[Names]:
    names = Names()
    yield names
    names.released.set()


async def test_a_name_is_looked_up_once_for_all_who_ask(names: Names) -> None:
    resolving = Resolver(names.look_up)
    found = await asyncio.gather(*(resolving.resolve("shop.example") for _ in range(20)))
    found.append(await resolving.resolve("shop.example"))
    assert found == [["127.0.0.1"]] * 21
    resolving.forget("shop.example")
    await resolving.resolve("shop.example")
    assert names.asked == {"shop.example": 2}


async def test_a_look_up_that_hangs_fails_in_time_and_is_not_repeated(names: Names) -> None:
    resolving = Resolver(names.look_up, timeout_seconds=0.2)
    asking = [resolving.resolve("hang.example") for _ in range(8)]
    failures = await asyncio.gather(*asking, return_exceptions=True)
    assert {str(failure) for failure in failures} == {
        "The look-up of hang.example took longer than 0.2 s."
    }
    with pytest.raises(ResolveFailed):
        await resolving.resolve("hang.example")
    assert names.asked == {"hang.example": 1}


async def test_names_that_hang_delay_no_other(names: Names) -> None:
    resolving = Resolver(names.look_up, timeout_seconds=30)
    hanging = [
        asyncio.create_task(resolving.resolve(f"{number}.hang.example")) for number in range(100)
    ]
    async with asyncio.timeout(5):
        assert await resolving.resolve("shop.example") == ["127.0.0.1"]
    assert not any(task.done() for task in hanging)
    names.released.set()
    assert await asyncio.gather(*hanging) == [["127.0.0.1"]] * 100


async def test_threads_are_bounded_and_their_queue_is_served_in_turn(names: Names) -> None:
    resolving = Resolver(names.look_up, threads_max=2, timeout_seconds=30)
    hosts = ["1.hang.example", "2.hang.example", "3.hang.example", "shop.example"]
    asking = [asyncio.create_task(resolving.resolve(host)) for host in hosts]
    await wait_until(lambda: names.asked.total() == 2)
    assert names.asked == dict.fromkeys(hosts[:2], 1)
    names.released.set()
    await asyncio.gather(*asking)
    assert names.asked == dict.fromkeys(hosts, 1)


async def test_a_failure_is_kept_briefly_and_a_late_answer_replaces_it(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving = Resolver(names.look_up, timeout_seconds=0.1)
    for host in ("fails.example", "fails.example", "hang.example"):
        with pytest.raises(ResolveFailed):
            await resolving.resolve(host)
    assert names.asked["fails.example"] == 1
    names.released.set()
    await wait_until(lambda: _is_known(resolving, "hang.example"))
    monkeypatch.setattr(resolver, "_FAILURE_KEPT_SECONDS", 0.0)
    resolving.forget("fails.example")
    for _ in range(2):
        with pytest.raises(ResolveFailed, match=r"fails\.example could not be looked up"):
            await resolving.resolve("fails.example")
    assert names.asked["fails.example"] == 3


async def _is_known(resolving: Resolver, host: str) -> bool:
    try:
        return bool(await resolving.resolve(host))
    except ResolveFailed:
        return False


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "nul\0.example"])
async def test_a_name_that_is_none_fails(host: str) -> None:
    with pytest.raises(ResolveFailed):
        await Resolver().resolve(host)
