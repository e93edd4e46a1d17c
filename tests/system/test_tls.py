"""Both listeners speak TLS, take up a renewed certificate, and let no handshake hold them up."""

import http.client
import os
import resource
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.certificates import Authority, fingerprint
from tests.docs.test_pages import test_a_pages_commands_answer_as_it_says as paste_page
from tests.system.conftest import COMMAND, Instance, start, wait_for

_EDGES = 2
_DESCRIPTORS = 256
_SILENT = 300
_HANDSHAKE_SECONDS = 10.0
LISTENERS = ("edge_url", "reports_url")
# With SO_REUSEPORT the kernel chooses the edge: so many connections reach both.
_ENOUGH = 40


class Secured:
    """An installation with TLS, few descriptors and two edges; certificates as certbot has them."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self._folder = folder
        self._renewals = 0
        self.cert, self.key = folder / "live-cert.pem", folder / "live-key.pem"
        self.renew(*self.authority.issue())
        self.instance = start(
            folder / "data",
            "--edges",
            str(_EDGES),
            launcher=("sh", "-c", f'ulimit -n {_DESCRIPTORS}; exec "$@"', "sh"),
            LINKJOLT_TLS_CERT=str(self.cert),
            LINKJOLT_TLS_KEY=str(self.key),
        )

    def renew(self, cert: bytes, key: bytes) -> None:
        """Replaces both symlinks, each at once, one after the other."""
        self._renewals += 1
        for link, text in ((self.cert, cert), (self.key, key)):
            file = self._folder / f"{link.name}.{self._renewals}"
            file.write_bytes(text)
            new = self._folder / "new"
            new.symlink_to(file)
            os.replace(new, link)

    @property
    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority.path))

    def port(self, listener: str) -> int:
        port = urlsplit(str(self.instance.run[listener])).port
        assert port
        return port

    def connect(self, listener: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port(listener)), timeout=20)

    def handshake(self, listener: str, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        sock = self.connect(listener)
        return (context or self.client).wrap_socket(sock, server_hostname="go.example")

    def served(self, listener: str) -> set[bytes]:
        """Returns the fingerprints of the certificates of many new handshakes."""
        found: set[bytes] = set()
        for _ in range(_ENOUGH):
            with self.handshake(listener) as tls:
                cert = tls.getpeercert(binary_form=True)
                assert cert
                found.add(fingerprint(ssl.DER_cert_to_PEM_cert(cert).encode()))
        return found

    def metric(self, listener: str, name: str) -> float:
        curl = ["curl", "-s", "--cacert", str(self.authority.path)]
        done = subprocess.run(
            [*curl, f"{self.instance.run[listener]}/metrics"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        lines = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines() if line[:1] != "#")
        return float(lines[name])

    def ask(self, tls: ssl.SSLSocket, path: str = "/healthz") -> http.client.HTTPResponse:
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: go.example\r\n\r\n".encode())
        answer = http.client.HTTPResponse(tls)
        answer.begin()
        answer.read()
        return answer


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    secured = Secured(tmp_path_factory.mktemp("tls"))
    yield secured
    secured.instance.stop()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] != resource.RLIM_INFINITY and limits[1] < 4 * _SILENT:
        pytest.skip(f"this process may open only {limits[1]} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 4 * _SILENT), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _paste_printed(instance: Instance) -> None:
    for listener in LISTENERS:
        assert instance.run[listener].startswith("https://127.0.0.1:")
        assert instance.run[listener] in instance.printed
    assert "http://" not in instance.printed
    for what, status in (("A click", "302"), ("A conversion", "201"), ("A report", "200")):
        command = instance.curl(what).replace("curl ", "curl -o /dev/null -w '\n%{http_code}' ", 1)
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, check=True, timeout=30
        )
        assert done.stdout.splitlines()[-1] == status, done


# One test: the tour's ids and figures are those of a new installation.
def test_the_tour_the_printed_lines_and_commands_work(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As `--cacert` with every command.
    monkeypatch.setenv("CURL_CA_BUNDLE", str(secured.authority.path))
    paste_page("README.md", secured.instance, tmp_path)
    _paste_printed(secured.instance)
    done = secured.instance.linkjolt("report")
    assert done.returncode == 0, done.stderr
    assert "clicks" in done.stdout
    log = tmp_path / "access.log"
    line = '192.0.2.1 - - [17/May/2026:10:05:46 +0000] "GET /replayed HTTP/1.1" 200 5 "-" "Firefox"'
    log.write_text(line + "\n")
    done = secured.instance.linkjolt("replay", str(log))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("listener", LISTENERS)
def test_tls_13_is_preferred_and_nothing_below_12_spoken(secured: Secured, listener: str) -> None:
    with secured.handshake(listener) as tls:
        assert tls.version() == "TLSv1.3"
        assert secured.ask(tls).getheader("Strict-Transport-Security") == "max-age=31536000"
    older = secured.client
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with secured.handshake(listener, older) as tls:
        assert tls.version() == "TLSv1.2"
        assert tls.session
        assert not tls.session.has_ticket
        assert secured.ask(tls).status == 200
    oldest = secured.client
    oldest.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        oldest.minimum_version = oldest.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        secured.handshake(listener, oldest)


@pytest.mark.parametrize("listener", LISTENERS)
def test_many_requests_are_answered_in_order_on_one_connection(
    secured: Secured, listener: str
) -> None:
    with secured.handshake(listener) as tls:
        for _ in range(3):
            assert secured.ask(tls).status == 200
        tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: go.example\r\n\r\n" * 50)
        for _ in range(50):
            answer = http.client.HTTPResponse(tls)
            answer.begin()
            assert answer.read() == b"ok\n"


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_body_of_many_records_arrives_whole(secured: Secured, listener: str) -> None:
    body = b"x" * (1 << 20)
    head = f"POST /v1/links HTTP/1.1\r\nHost: go.example\r\nContent-Length: {len(body)}\r\n"
    head += f"Authorization: Bearer {secured.instance.demo('key')}\r\n\r\n"
    with secured.handshake(listener) as tls:
        tls.sendall(head.encode() + body)
        answer = http.client.HTTPResponse(tls)
        answer.begin()
        assert answer.status == 413


def test_renewed_certificates_are_taken_up_without_a_break(secured: Secured) -> None:
    cert, key = secured.authority.issue()
    former = fingerprint(secured.cert.read_bytes())
    with ExitStack() as stack:
        opened = [stack.enter_context(secured.handshake(one)) for one in LISTENERS for _ in "1234"]
        assert all(secured.ask(tls).status == 200 for tls in opened)
        pids = secured.instance.run["pids"]
        secured.renew(cert, key)
        for listener in LISTENERS:
            assert secured.served(listener) <= {former, fingerprint(cert)}
            wait_for(
                f"every handshake of {listener} has the renewed certificate",
                lambda listener=listener: secured.served(listener) == {fingerprint(cert)},
            )
        assert all(secured.ask(tls).status == 200 for tls in opened)
    assert secured.instance.run["pids"] == pids
    done = secured.instance.linkjolt("report")
    assert done.returncode == 0, done.stderr


def test_a_broken_renewal_is_logged_and_the_former_certificate_stays(secured: Secured) -> None:
    former = secured.cert.read_bytes(), secured.key.read_bytes()
    logged = secured.instance.log.count("renewed certificate not usable")
    secured.renew(former[0], secured.authority.issue()[1])
    processes = _EDGES + 1
    wait_for(
        "every process has logged it",
        lambda: secured.instance.log.count("renewed certificate not usable") == logged + processes,
    )
    for listener in LISTENERS:
        assert secured.served(listener) == {fingerprint(former[0])}
    secured.renew(*former)


@pytest.mark.parametrize("listener", LISTENERS)
def test_plain_http_is_redirected_or_refused_and_never_served(
    secured: Secured, listener: str
) -> None:
    def ask(head: str) -> http.client.HTTPResponse:
        with secured.connect(listener) as sock:
            sock.sendall(f"{head}\r\nHost: go.example:8000\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            answer.read()
            assert answer.getheader("Strict-Transport-Security") is None
            return answer

    page = ask("GET /some?a=%20b HTTP/1.1")
    location = "https://go.example:8000/some?a=%20b"
    assert (page.status, page.getheader("Location")) == (307, location)
    for head in ("GET /v1/me HTTP/1.1", "POST /some HTTP/1.1", "GET /postback?key=x HTTP/1.1"):
        assert ask(head).status == 403
    assert ask("GET /some HTTP/1.1\r\nAuthorization: Bearer x").status == 403
    assert ask("NONSENSE").status == 400


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"], ids=len)
def test_handshakes_that_do_not_go_on_keep_nobody_waiting(
    secured: Secured, listener: str, sent: bytes
) -> None:
    pids = secured.instance.run["pids"]
    with ExitStack() as stack:
        for _ in range(_SILENT):
            silent = stack.enter_context(secured.connect(listener))
            with suppress(OSError):
                silent.sendall(sent)
        for _ in range(10):
            with secured.handshake(listener) as tls:
                assert secured.ask(tls).status == 200
    assert secured.instance.run["pids"] == pids
    assert "Too many open files" not in secured.instance.log


@pytest.mark.long
@pytest.mark.parametrize("listener", LISTENERS)
def test_a_handshake_has_ten_seconds_and_the_head_behind_it_ten_more(
    secured: Secured, listener: str
) -> None:
    with (
        secured.connect(listener) as silent,
        secured.connect(listener) as half,
        secured.handshake(listener) as shaken,
    ):
        began = time.monotonic()
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        for sock in (silent, half, shaken):
            with suppress(ConnectionResetError):
                assert sock.recv(1) == b""
            assert 0.9 * _HANDSHAKE_SECONDS < time.monotonic() - began < 1.5 * _HANDSHAKE_SECONDS


def test_what_is_no_handshake_is_answered_or_closed_without_a_log_line(secured: Secured) -> None:
    logged = len(secured.instance.log)
    for listener in LISTENERS:
        for sent in (
            b"\x16" + b"\xff" * 500,
            b"\x16\x03\x01\x00\x02\x01\x00",
            b"\0" * 600,
            b"\x15",
        ):
            with secured.connect(listener) as sock:
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):
                    while sock.recv(4096):
                        pass
        with pytest.raises(ssl.SSLCertVerificationError):
            secured.handshake(listener, ssl.create_default_context())
        with secured.handshake(listener) as tls:
            assert secured.ask(tls).status == 200
        # None is counted any more but the one that asks.
        wait_for(
            "all connections are forgotten",
            lambda listener=listener: secured.metric(listener, "linkjolt_connections") == 1,
        )
    new = secured.instance.log[logged:]
    assert not [line for line in new.splitlines() if "the certificate" not in line], new


def test_the_days_until_the_certificate_expires_are_a_metric(secured: Secured) -> None:
    for listener, name in zip(LISTENERS, ("edge", "reports"), strict=True):
        days = secured.metric(listener, f'linkjolt_tls_certificate_days{{listener="{name}"}}')
        assert 4.9 < days < 5


def _without_key(authority: Authority, folder: Path) -> dict[str, str]:
    return {"LINKJOLT_TLS_CERT": str(authority.path)}


def _mismatched(authority: Authority, folder: Path) -> dict[str, str]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(authority.issue()[0])
    key.write_bytes(authority.issue()[1])
    return {"LINKJOLT_TLS_CERT": str(cert), "LINKJOLT_TLS_KEY": str(key)}


@pytest.mark.parametrize("command", ["up", "edge", "reports"])
@pytest.mark.parametrize(
    ("make", "line"),
    [
        (_without_key, "LINKJOLT_TLS_KEY is missing: "),
        (_mismatched, "is not the key of the certificate"),
    ],
)
def test_a_bad_pair_stops_the_start_with_one_line(
    make: Callable[[Authority, Path], dict[str, str]], line: str, command: str, tmp_path: Path
) -> None:
    variables = make(Authority(tmp_path), tmp_path) | {
        "LINKJOLT_REDIS_URL": "redis://127.0.0.1:1/0",
        "LINKJOLT_CLICKHOUSE_URL": "http://127.0.0.1:1/linkjolt",
    }
    own = {name: text for name, text in os.environ.items() if not name.startswith("LINKJOLT_")}
    done = subprocess.run(
        [*COMMAND, command, "--data", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=own | variables,
    )
    errors = [text for text in done.stderr.splitlines() if not text.startswith("{")]
    assert done.returncode == 1
    assert len(errors) == 1
    assert line in errors[0]
    assert not (tmp_path / "data" / "run.json").exists()


@pytest.mark.long
def test_an_instance_stops_while_handshakes_are_open(tmp_path: Path) -> None:
    secured = Secured(tmp_path)
    with secured.connect("edge_url"), secured.connect("reports_url") as half:
        half.sendall(b"\x16\x03")
        with secured.handshake("edge_url") as tls:
            assert secured.ask(tls).status == 200
            instance: Instance = secured.instance
            assert instance.stop() == 0


if not shutil.which("curl"):
    pytest.skip("needs curl", allow_module_level=True)
