"""A key gets its limit over two edges and the reports listener, however hard it is used."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.system.conftest import Instance, start

LIMIT = 600
SECONDS = 20.0
PATH = "/v1/campaigns"
# Of the limit, with a new connection for each request, so that both edges get some.
STEADY_SHARE = 0.9


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    settings = {
        "LINKJOLT_EDGES": "2",
        "LINKJOLT_RATE_KEY_PER_MINUTE": "6000",
        "LINKJOLT_RATE_FAILURES_PER_MINUTE": "20",
    }
    running = start(tmp_path_factory.mktemp("limits") / "data", **settings)
    yield running
    running.stop()


def make_key(instance: Instance) -> str:
    form = {"name": "one", "scopes": ["links:read"], "rate_limit_per_minute": LIMIT}
    headers = {"Authorization": f"Bearer {instance.demo('key')}"}
    answer = httpx2.post(f"{instance.run['edge_url']}/v1/keys", json=form, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]


def flood(url: str, key: str, until: float) -> Counter[int]:
    """Sends requests over one connection, each as soon as the last one is answered."""
    statuses: Counter[int] = Counter()
    with httpx2.Client(headers={"Authorization": f"Bearer {key}"}) as client:
        while time.monotonic() < until:
            statuses[client.get(url + PATH).status_code] += 1
    return statuses


def send_steadily(url: str, key: str, until: float) -> Counter[int]:
    """Sends requests below the limit, each over a connection of its own."""
    statuses: Counter[int] = Counter()
    interval = 60 / LIMIT / STEADY_SHARE
    due = time.monotonic()
    while due < until:
        time.sleep(max(0.0, due - time.monotonic()))
        # After a pause of this process, what is late must not become a burst.
        due = max(due, time.monotonic() - interval) + interval
        headers = {"Authorization": f"Bearer {key}"}
        statuses[httpx2.get(url + PATH, headers=headers).status_code] += 1
    return statuses


@pytest.mark.long
def test_a_flood_on_all_listeners_gets_the_limit(instance: Instance) -> None:
    edge, reports = instance.run["edge_url"], instance.run["reports_url"]
    key, steady_key = make_key(instance), make_key(instance)
    with ThreadPoolExecutor(8) as threads:
        # What may be sent at once is used up first.
        burst_until = time.monotonic() + 5
        for spent in [threads.submit(flood, edge, key, burst_until) for _ in range(2)]:
            assert spent.result()[429]
        began = time.monotonic()
        until = began + SECONDS
        urls = [edge] * 4 + [reports] * 2
        flooding = [threads.submit(flood, url, key, until) for url in urls]
        steady = threads.submit(send_steadily, edge, steady_key, until)
        statuses = sum((one.result() for one in flooding), Counter[int]())
        took = time.monotonic() - began
    assert statuses.keys() == {200, 429}
    assert statuses[200] == pytest.approx(LIMIT * took / 60, rel=0.1)
    assert statuses[429] > statuses[200]
    assert steady.result().keys() == {200}
