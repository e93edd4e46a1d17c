"""Repeats requests until their outcome is known, as a shop would."""

import time
from typing import Any

import httpx2

from tests.system.conftest import Instance

_RETRY_SECONDS = 60.0
# With one of these statuses, or without an answer, the same request is sent again.
_RETRIED_STATUSES = (502, 503)


class RetryingClient:
    """A client with the demo's key."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._http = httpx2.Client(headers={"Authorization": f"Bearer {instance.demo('key')}"})

    def close(self) -> None:
        self._http.close()

    def make(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Creates an entry of the registry."""
        return self.send("POST", f"/v1/{kind}", (201,), json=body).json()

    def send(
        self, method: str, path: str, expected: tuple[int, ...], **more: Any
    ) -> httpx2.Response:
        """Sends a request until it gets one of the expected statuses; returns the answer."""
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:
            try:
                answer = self._http.request(
                    method, self._instance.run["edge_url"] + path, timeout=10, **more
                )
                if answer.status_code in expected:
                    return answer
                outcome = f"{answer.status_code} {answer.text}"
                # A queued conversion is not there yet for its adjustment.
                again = answer.status_code in (*_RETRIED_STATUSES, 404)
            except httpx2.HTTPError as error:
                outcome, again = repr(error), True
            assert again and time.monotonic() < deadline, f"{method} {path}: {outcome}"
            time.sleep(0.05)


def pass_millisecond() -> None:
    """Returns in a later millisecond than it was called."""
    before_ms = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == before_ms:
        time.sleep(0.0005)
