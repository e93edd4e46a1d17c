"""Serves LinkJolt's edge as a peer: one worker, used only by its command line and HTTP."""

import http.client
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from linkjolt import redis_keys
from linkjolt.runtime.redis_server import free_port
from loadtests.bench import traffic
from loadtests.bench.peers.peer import Peer, ServedPeer, TurnEnvironment
from loadtests.bench.plan import BenchFailed
from loadtests.bench.programs import ROOT, run_command, running_program, wait_listening

_PYTHON = [sys.executable, "-P", "-m", "linkjolt"]


class _Key(msgspec.Struct):
    key: str


class _CreatedEntry(msgspec.Struct):
    id: str


class _BulkLinksAnswer(msgspec.Struct):
    accepted: int


def send_request(
    port: int, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Sends one request, a POST if it has a body; returns status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        content = None if body is None else msgspec.json.encode(body)
        connection.request("GET" if body is None else "POST", path, content, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchFailed(f"no answer to {path}: {error}") from None
    finally:
        connection.close()


def _post(port: int, key: str, path: str, body: object) -> bytes:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    status, answer = send_request(port, path, body, headers)
    if status not in (200, 201):
        raise BenchFailed(f"{path} answered {status}: {answer[:300]!r}")
    return answer


def create_links(port: int, key: str) -> None:
    """Creates a campaign, an affiliate, and a link for each code."""
    commission = {"kind": "percentage", "rate": "30"}
    campaign = {"name": "Bench", "currency": "USD", "commission": commission}
    answers = [_post(port, key, "/v1/campaigns", campaign)]
    answers.append(_post(port, key, "/v1/affiliates", {"name": "Bench"}))
    campaign_id, affiliate_id = (
        msgspec.json.decode(answer, type=_CreatedEntry).id for answer in answers
    )
    links = [
        {
            "campaign_id": campaign_id,
            "affiliate_id": affiliate_id,
            "destination": traffic.DESTINATION,
            "tracking_code": code,
        }
        for code in traffic.CODES
    ]
    bulk = msgspec.json.decode(
        _post(port, key, "/v1/links/bulk", {"links": links}), type=_BulkLinksAnswer
    )
    if bulk.accepted != len(links):
        raise BenchFailed(f"{bulk.accepted} of {len(links)} links were created")


@contextmanager
def _serve(environment: TurnEnvironment, root: Path = ROOT) -> Generator[ServedPeer]:
    port = free_port()
    log = environment.folder / "edge.log"
    variables = {
        "PYTHONPATH": str(root),
        "LINKJOLT_REDIS_URL": environment.redis_url,
        "LINKJOLT_DATA": str(environment.folder / "data"),
        "LINKJOLT_EDGE_PORT": str(port),
    }
    create = [*_PYTHON, "keys", "create", "--json", "--name", "bench", "--scope", "admin"]
    with running_program([*_PYTHON, "edge"], environment.cores.worker, log, variables) as child:
        printed = run_command(create, environment.cores.load, 30, variables)
        key = msgspec.json.decode(printed, type=_Key).key
        wait_listening(port, child, log)
        create_links(port, key)
        yield ServedPeer(port, child.pid, key)


def edge_at(root: Path, name: str) -> Peer:
    """Returns a peer for the edge of another checkout, on this one's Python."""
    return Peer(name, redis_keys.clicks(0).key, partial(_serve, root=root))


EDGE = Peer("LinkJolt", redis_keys.clicks(0).key, _serve)
EDGE_CONVERSIONS = Peer("LinkJolt", redis_keys.conversions(0).key, _serve)
