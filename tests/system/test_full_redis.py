"""A Redis full to its bound: redirects go on, whatever stops something works, room comes back."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import redis

from tests.system.conftest import Instance, start, wait_for

# Two kilobytes a click.
_LONG = {f"sub{number}": "x" * 190 for number in range(1, 11)}
_REDIS_BYTES = 7 << 20


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    running = start(
        tmp_path / "data",
        LINKJOLT_REDIS_MAX_MEMORY_BYTES=str(_REDIS_BYTES),
        LINKJOLT_WEBHOOK_ALLOW_PRIVATE="1",
    )
    yield running
    if running.process.poll() is None:
        running.stop()


class Merchant:
    """Sends requests to the edge with the demo key."""

    def __init__(self, instance: Instance, client: httpx2.Client) -> None:
        self._instance = instance
        self._client = client
        self._key = instance.demo("key")

    def send(self, method: str, path: str, body: object = None, key: str = "") -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key or self._key}"}
        url = self._instance.run["edge_url"] + path
        return self._client.request(method, url, json=body, headers=headers)

    def create(self, path: str, body: object) -> dict[str, Any]:
        answer = self.send("POST", path, body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def click(self) -> int:
        return self._client.get(self._instance.demo("link"), params=_LONG).status_code


@pytest.mark.long
def test_what_a_merchant_must_be_able_to_do_when_redis_is_full(instance: Instance) -> None:
    with httpx2.Client(timeout=30) as client:
        merchant = Merchant(instance, client)
        scopes = {"name": "leaked", "scopes": ["links:read"]}
        leaked, other = (merchant.create("/v1/keys", scopes) for _ in range(2))
        link = {
            "campaign_id": "cmp_1",
            "affiliate_id": "aff_1",
            "destination": "https://s.example/",
        }
        unwanted = merchant.create("/v1/links", link)
        hook = {"url": "http://127.0.0.1:1/dead", "events": ["click.created"]}
        endpoints = [merchant.create("/v1/webhooks", hook)["id"] for _ in range(3)]
        clicks = _fill(instance, merchant)

        assert merchant.send("POST", "/v1/links", link).status_code == 503
        assert merchant.click() == 302
        assert merchant.send("GET", "/v1/links", key=leaked["key"]).status_code == 200
        assert merchant.send("DELETE", f"/v1/keys/{leaked['id']}").status_code == 204
        revoked = instance.linkjolt("keys", "revoke", other["id"])
        assert revoked.returncode == 0, revoked.stderr
        for key in (leaked["key"], other["key"]):
            refused = "a revoked key is refused"
            wait_for(
                refused, lambda k=key: merchant.send("GET", "/v1/me", key=k).status_code == 401
            )
        disabled = merchant.send("PATCH", f"/v1/links/{unwanted['id']}", {"status": "disabled"})
        assert disabled.status_code == 200
        for endpoint in endpoints:
            assert merchant.send("DELETE", f"/v1/webhooks/{endpoint}").status_code == 204
        url = instance.run["redis_url"]
        wait_for("endpoints leave nothing", lambda: not _keys(url, "lj:{w:*}*"))

        os.kill(instance.run["pids"]["warehouse"], signal.SIGCONT)
        there = "there is room again"
        wait_for(there, lambda: merchant.send("POST", "/v1/links", link).status_code == 201, 40)
        counted = f"all {clicks + 1} clicks are stored"
        wait_for(counted, lambda: _stored(instance) == clicks + 1, 40)
        assert instance.linkjolt("audit").returncode == 0


def _fill(instance: Instance, merchant: Merchant) -> int:
    """Stops the aggregator and clicks until Redis refuses to create anything; counts the clicks."""
    os.kill(instance.run["pids"]["warehouse"], signal.SIGSTOP)
    clicks = 0
    try:
        while clicks < 20_000:
            for _ in range(100):
                assert merchant.click() == 302
            clicks += 100
            form = {"name": "C", "currency": "USD", "commission": {"kind": "percentage", "rate": 1}}
            if merchant.send("POST", "/v1/campaigns", form).status_code == 503:
                return clicks
    except BaseException:
        os.kill(instance.run["pids"]["warehouse"], signal.SIGCONT)
        raise
    os.kill(instance.run["pids"]["warehouse"], signal.SIGCONT)
    pytest.fail("Redis does not get full")


def _stored(instance: Instance) -> int:
    answer = instance.api("reports_url", path="/v1/balance")
    streams: list[dict[str, Any]] = answer.json()["streams"] if answer.status_code == 200 else []
    return sum(one["stored"] for one in streams if one["stream"].startswith("clicks"))


def _keys(url: str, pattern: str) -> list[bytes]:
    with redis.Redis.from_url(url) as server:  # pyright: ignore[reportUnknownMemberType]
        return cast(list[bytes], server.execute_command("KEYS", pattern))  # pyright: ignore[reportUnknownMemberType]
