"""A client's token posts conversions, also while Redis is stopped; a revoked one never does."""

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.system.conftest import Instance, start, wait_for

GRANT = {"grant_type": "client_credentials"}


class Merchant:
    """A merchant's program with the credentials of its client."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.edge: str = instance.run["edge_url"]
        self.code = instance.demo("link").rpartition("/")[2]
        headers = {"Authorization": f"Bearer {instance.demo('key')}"}
        form = {"name": "Shop", "scopes": ["conversions:write", "reports:read"]}
        made = httpx2.post(f"{self.edge}/v1/oauth-clients", json=form, headers=headers)
        assert made.status_code == 201, made.text
        self.id: str = made.json()["id"]
        self.credentials = made.json()["client_id"], made.json()["client_secret"]

    def token(self) -> str:
        answer = httpx2.post(f"{self.edge}/oauth/token", data=GRANT, auth=self.credentials)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def revoke(self, token: str) -> None:
        form = {"token": token}
        answer = httpx2.post(f"{self.edge}/oauth/revoke", data=form, auth=self.credentials)
        assert answer.status_code == 200, answer.text

    def post(self, token: str, order_id: str) -> int:
        """Posts the conversion of the documentation; each request goes to any of the edges."""
        body = {
            "tracking_code": self.code,
            "order_value": 99.99,
            "order_id": order_id,
            "customer_email": "customer@example.com",
        }
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.edge}/v1/conversions"
        return httpx2.post(url, json=body, headers=headers, timeout=20).status_code

    def reports(self, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        url = self.instance.run["reports_url"]
        return httpx2.get(f"{url}/v1/me", headers=headers, timeout=20).status_code


@pytest.fixture
def two_edges(tmp_path: Path) -> Iterator[Instance]:
    running = start(tmp_path / "data", LINKJOLT_EDGES="2")
    assert len(running.run["pids"]["edge"]) == 2
    yield running
    if running.process.poll() is None:
        running.stop()


@contextmanager
def redis_stopped(instance: Instance) -> Generator[None]:
    redis = instance.run["pids"]["redis"]
    os.kill(redis, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis, signal.SIGCONT)


def test_tokens_are_checked_without_redis(own_instance: Instance) -> None:
    merchant = Merchant(own_instance)
    good, revoked = merchant.token(), merchant.token()
    assert merchant.post(good, "o1") == merchant.post(revoked, "o2") == 201
    assert merchant.reports(good) == merchant.reports(revoked) == 200
    merchant.revoke(revoked)
    wait_for("reports refuse it", lambda: merchant.reports(revoked) == 401, 1)
    with redis_stopped(own_instance):
        assert merchant.post(good, "o3") == 202
        assert merchant.post(revoked, "o4") == 401
        assert merchant.post(good[:-1], "o5") == 401
        assert (merchant.reports(good), merchant.reports(revoked)) == (200, 401)
        # Tokens are issued, too, but none can be revoked.
        assert merchant.post(merchant.token(), "o6") == 202
        form, url = {"token": good}, f"{merchant.edge}/oauth/revoke"
        refused = httpx2.post(url, data=form, auth=merchant.credentials, timeout=20)
        assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
        assert "retry-after" in refused.headers
    # 200: it was queued by an attempt before, and is stored.
    wait_for("a post is stored", lambda: merchant.post(good, "o7") in (200, 201))


@pytest.mark.long
def test_an_edge_that_starts_without_redis_knows_what_is_revoked(own_instance: Instance) -> None:
    merchant, deleted = Merchant(own_instance), Merchant(own_instance)
    good, revoked, orphan = merchant.token(), merchant.token(), deleted.token()
    merchant.revoke(revoked)
    headers = {"Authorization": f"Bearer {own_instance.demo('key')}"}
    path = f"{merchant.edge}/v1/oauth-clients/{deleted.id}"
    assert httpx2.delete(path, headers=headers).status_code == 204
    snapshot = own_instance.data / "edge"

    def is_copied() -> bool:
        files = [path.read_bytes() for path in snapshot.iterdir()]
        return any(b'"deleted_at":"2' in text for text in files)

    wait_for("the deletion is copied", is_copied)
    with redis_stopped(own_instance):
        os.kill(own_instance.run["pids"]["edge"][0], signal.SIGKILL)

        def answers() -> bool:
            try:
                return merchant.post(good, "o1") == 202
            except httpx2.TransportError:
                return False

        wait_for("a new edge takes the token", answers, 30)
        assert merchant.post(revoked, "o2") == 401
        assert merchant.post(orphan, "o3") == 401
        assert merchant.post(merchant.token(), "o4") == 202


@pytest.mark.long
def test_a_revocation_reaches_every_edge_within_a_second(two_edges: Instance) -> None:
    merchant = Merchant(two_edges)
    tokens = [merchant.token() for _ in range(20)]
    # Each connection is to either edge: both have used the tokens before.
    assert {merchant.post(token, f"o{at}") for at, token in enumerate(tokens)} == {201}
    for token in tokens:
        merchant.revoke(token)
    wait_for(
        "every edge refuses them",
        lambda: {merchant.post(token, "late") for token in tokens} == {401},
        1,
    )
    assert {merchant.post(token, "late") for token in tokens * 3} == {401}


@pytest.mark.long
def test_no_secret_of_oauth_is_in_a_log_or_file(own_instance: Instance) -> None:
    merchant = Merchant(own_instance)
    token = merchant.token()
    merchant.post(token, "o1")
    merchant.post(token[:-1], "o2")
    wrong = ("client_1", merchant.credentials[1])
    httpx2.post(f"{merchant.edge}/oauth/token", data=GRANT, auth=wrong)
    httpx2.get(f"{merchant.edge}/v1/me?access_token={token}")
    merchant.revoke(token)
    own_instance.stop()
    assert merchant.credentials[1] not in own_instance.log + own_instance.printed
    assert token not in own_instance.log + own_instance.printed
    for path in own_instance.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert merchant.credentials[1].encode() not in content, path
            assert token.encode() not in content, path
