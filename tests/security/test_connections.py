"""Connections that send nothing, little or too much keep no others from being served."""

import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests.money.conftest import PATIENT
from tests.money.shop import BROWSER, Api, Shop, unique
from tests.security import raw
from tests.system.conftest import start

_FEW_DESCRIPTORS = 1_024
_IDLE = 1_050
_H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
LISTENERS = ("edge", "reports")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Runs an installation whose processes may have no more descriptors than usual."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] != resource.RLIM_INFINITY and limits[1] < 4 * _FEW_DESCRIPTORS:
        pytest.skip(f"this process may open only {limits[1]} descriptors")
    folder = tmp_path_factory.mktemp("few") / "data"
    words = ("sh", "-c", f'ulimit -n {_FEW_DESCRIPTORS}; exec "$@"', "sh")
    instance = start(folder, launcher=words, **PATIENT)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 4 * _FEW_DESCRIPTORS), limits[1]))
    api = Api(instance)
    yield api
    api.http.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    instance.stop()


@pytest.mark.parametrize("listener", LISTENERS)
def test_idle_connections_end_no_process_and_keep_nobody_waiting(few: Api, listener: str) -> None:
    shop, pids = Shop(few), few.instance.run["pids"]
    url = few.edge if listener == "edge" else few.reports
    with raw.idle_connections(url, _IDLE):
        for _ in range(20):
            shop.click()
            shop.sale()
            assert few.send("GET", few.reports + "/v1/me").status_code == 200
    assert few.instance.run["pids"] == pids
    assert "child died" not in few.instance.log
    assert "Too many open files" not in few.instance.log


@pytest.mark.long
@pytest.mark.parametrize("listener", LISTENERS)
def test_no_loop_in_the_background_meets_a_want_of_descriptors(few: Api, listener: str) -> None:
    # Each of them has its turn within ten seconds, as long as an idle connection may stay open.
    shop, pids = Shop(few), few.instance.run["pids"]
    url = few.edge if listener == "edge" else few.reports
    until = time.monotonic() + 25
    while time.monotonic() < until:
        with raw.idle_connections(url, _IDLE) as connections:
            shop.click()
            shop.sale()
            connections[0].recv(1)
    assert few.instance.run["pids"] == pids
    assert "child died" not in few.instance.log
    assert "Too many open files" not in few.instance.log


def test_posts_under_way_outlive_a_flood_of_idle_connections(few: Api) -> None:
    shop = Shop(few)
    order = {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": 5}
    body = json.dumps(order).encode()
    with raw.connect(few.edge) as sock:
        sock.sendall(_head(few.key, "/v1/conversions", len(body)).encode() + body[:10])
        with raw.idle_connections(few.edge, _IDLE):
            sock.sendall(body[10:])
            assert raw.read_answer(sock).startswith(b"HTTP/1.1 201 ")


def test_clients_that_read_no_answers_keep_nobody_out(few: Api) -> None:
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 200
    with raw.idle_connections(few.edge, _FEW_DESCRIPTORS // 2 + 40) as connections:
        for sock in connections:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.setblocking(False)
            with suppress(BlockingIOError, ConnectionError):
                sock.send(asked)
        assert httpx2.get(few.edge + "/healthz", timeout=30).status_code == 200


def test_few_descriptors_are_said_at_start(few: Api) -> None:
    assert few.instance.log.count("few descriptors are allowed") == 1


def _head(key: str, path: str, length: int, more: str = "", method: str = "POST") -> str:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\n{more}Content-Length: {length}\r\n\r\n"
    )


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("split", [False, True], ids=["one segment", "two segments"])
def test_a_post_that_asks_for_an_upgrade_is_taken(api: Api, listener: str, split: bool) -> None:
    url = api.edge if listener == "edge" else api.reports
    body = json.dumps({"name": unique("affiliate")}).encode()
    head = _head(api.key, "/v1/affiliates", len(body), _H2C).encode()
    segments = (head, body) if split else (head + body,)
    with raw.connect(url) as sock:
        for segment in segments:
            sock.sendall(segment)
            raw.let_read(url)
        assert raw.read_answer(sock).startswith(b"HTTP/1.1 201 ")
        # The connection is in step.
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.read_answer(sock).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("path", ["/v1/links/bulk", "/v1/affiliates", "/v1/adjustments"])
def test_a_body_is_no_request_where_its_own_asks_for_an_upgrade(
    api: Api, listener: str, path: str
) -> None:
    url = api.edge if listener == "edge" else api.reports
    hidden = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with raw.connect(url) as sock:
        sock.sendall(_head(api.key, path, len(hidden), _H2C).encode())
        raw.let_read(url)
        sock.sendall(hidden)
        assert raw.read_answer(sock).startswith(b"HTTP/1.1 400 ")
        # What is answered next was asked next.
        sock.sendall(b"GET /v1/me HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.read_answer(sock).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("path", ["/healthz", "/{code}", "/openapi.json"])
def test_a_client_that_reads_no_answers_costs_little_memory(
    api: Api, listener: str, path: str
) -> None:
    code = Shop(api).ann.code
    url, pids = (
        (api.edge, api.instance.run["pids"]["edge"])
        if listener == "edge"
        else (api.reports, [api.instance.run["pids"]["warehouse"]])
    )
    sent = f"GET {path.format(code=code)} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 200_000
    # Reads once, so that caches and the like are filled.
    raw.exchange(url, sent[: len(sent) // 200_000])
    before = _resident_bytes(pids)
    with raw.connect(url) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.settimeout(1)
        with suppress(TimeoutError, ConnectionError):
            sock.sendall(sent)
        grown = _resident_bytes(pids) - before
        assert httpx2.get(url + "/healthz", timeout=5).status_code == 200
    assert grown < 64 << 20


def _resident_bytes(pids: list[int]) -> int:
    if not Path("/proc/self/statm").exists():
        pytest.skip("the system does not show a process's memory in /proc")
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * resource.getpagesize()


_SIGN_INS = (("POST", "/v1/session"), ("POST", "/v1/session/link"))


def _operations_with_bodies(api: Api, listener: str) -> list[tuple[str, str, str]]:
    url = api.edge if listener == "edge" else api.reports
    document = httpx2.get(url + "/openapi.json").json()
    return [
        (url, method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and "requestBody" in operation
    ]


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("key", ["", "lj_live_" + "x" * 40], ids=["no key", "a wrong key"])
def test_credentials_are_judged_before_a_body_is_read(api: Api, listener: str, key: str) -> None:
    # A postback's key may be in its body, as a client's secret and a person's password.
    operations = [
        operation
        for operation in _operations_with_bodies(api, listener)
        if not operation[2].startswith(("/postback", "/oauth")) and operation[1:] not in _SIGN_INS
    ]
    assert len(operations) > 10
    for url, method, path in operations:
        head = _head(key, path.replace("{", "").replace("}", ""), 60_000, method=method)
        head = head if key else head.replace("Authorization: Bearer \r\n", "")
        answer = raw.exchange(url, head.encode())
        assert answer.startswith(b"HTTP/1.1 401 "), (method, path, answer[:200])


@pytest.mark.parametrize("query", ["key=wrong", "key_id=key_1&ts=1&sig=" + "0" * 64])
def test_a_postbacks_credentials_in_its_query_are_judged_before_its_body(
    api: Api, query: str
) -> None:
    head = f"POST /postback?{query} HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"
    assert raw.exchange(api.edge, head.encode()).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("", 400),
        ("Host: a\r\nHost: a\r\n", 400),
        ("Host: a\r\nHost: b\r\n", 400),
        ("Host: a b\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
    ],
    ids=["no host", "one host twice", "two hosts", "no host's name", "gzip", "chunked twice"],
)
def test_a_head_of_doubtful_meaning_is_refused_and_ends_the_connection(
    api: Api, listener: str, lines: str, status: int
) -> None:
    url = api.edge if listener == "edge" else api.reports
    head = f"GET /healthz HTTP/1.1\r\n{lines}\r\n"
    with raw.connect(url) as sock:
        sock.sendall(head.encode())
        assert raw.read_answer(sock).startswith(b"HTTP/1.1 %d " % status)
        assert sock.recv(1) == b""


def test_a_visitor_is_redirected_while_others_send_slowly(api: Api) -> None:
    shop = Shop(api)
    slow_head = b"GET / HTTP/1.1\r\nHost: "
    slow_body = b"POST /postback HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\na=b"
    with raw.idle_connections(api.edge, 400) as connections:
        for at, sock in enumerate(connections):
            sock.sendall(slow_head if at % 2 else slow_body)
        for _ in range(20):
            answer = api.send("GET", f"/{shop.ann.code}", key="-", headers=BROWSER)
            assert answer.status_code == 302
