"""No write is missing in the audit log after a kill of everything, and none is there unmade."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.system.conftest import Instance, start, wait_for


def _write(instance: Instance, made: list[str], stopped: threading.Event) -> None:
    """Creates affiliates until the instance is gone; `made` are the acknowledged ones."""
    headers = {"Authorization": f"Bearer {instance.demo('key')}"}
    with httpx2.Client(base_url=instance.run["edge_url"], headers=headers) as client:
        while not stopped.is_set():
            try:
                answer = client.post("/v1/affiliates", json={"name": "Ann"})
            except httpx2.HTTPError:
                return
            if answer.status_code == 201:
                made.append(answer.json()["id"])


def _kill_all(instance: Instance) -> None:
    """Kills every process of the instance at once, its supervisor first."""
    found: dict[str, int | list[int] | None] = instance.run["pids"]
    pids = [instance.process.pid]
    for one in found.values():
        pids += one if isinstance(one, list) else [one] if one else []
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    instance.process.wait(10)


def _pages(instance: Instance, url: str, path: str, **filters: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        parameters = {"limit": "1000", **filters, **cursor}
        page = instance.api(url, path=path, params=parameters).json()
        found += page["data"]
        if not page["next_cursor"]:
            return found
        cursor = {"cursor": page["next_cursor"]}


@pytest.mark.long
def test_a_kill_of_everything_under_writes_loses_no_record(tmp_path: Path) -> None:
    instance = start(tmp_path / "data")
    made: list[str] = []
    stopped = threading.Event()
    try:
        for _ in range(2):
            before = len(made)
            writers = [
                threading.Thread(target=_write, args=(instance, made, stopped)) for _ in range(3)
            ]
            for writer in writers:
                writer.start()
            wait_for("writes go on", lambda seen=before: len(made) > seen + 100, 30)
            _kill_all(instance)
            for writer in writers:
                writer.join(30)
            instance = start(tmp_path / "data")

        def recorded() -> list[str]:
            records = _pages(instance, "reports_url", "/v1/audit", operation="createAffiliate")
            return sorted(record["object"] for record in records)

        def existing() -> list[str]:
            found = _pages(instance, "edge_url", "/v1/affiliates")
            # The demo's own is made by the command.
            return sorted(one["id"] for one in found if one["name"] == "Ann")

        wait_for("every write is recorded", lambda: recorded() == existing(), 30)
        assert set(made) <= {*existing()}
        verified = instance.linkjolt("audit-log", "verify", "--json")
        assert verified.returncode == 0, verified.stdout
        [chain] = json.loads(verified.stdout)["accounts"]
        assert chain["seq"] == chain["rows"] == chain["kept_seq"]
    finally:
        stopped.set()
        instance.stop()
