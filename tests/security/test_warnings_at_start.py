"""A start says which settings let strangers read or forge more than an operator expects."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from linkjolt.runtime.exposure import exposure_warnings, warn_of_exposure
from linkjolt.runtime.lifecycle import SUPERVISOR_PID
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import SharedSettings

PROXIES = "LINKJOLT_TRUSTED_PROXIES has "
WIDE = [
    *("0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "192.0.0.0/7", "2000::/3", "::/1"),
    *("::ffff:0:0/96", "::ffff:0:0/97", "2400::/12"),
]
NARROW = [
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "::1/128", "fc00::/7", "fe80::/10"),
    *("2400:cb00::/32", "173.245.48.0/20", "::ffff:10.0.0.0/104", "192.0.2.1", ""),
]


@pytest.mark.parametrize("network", WIDE)
def test_proxies_among_whom_visitors_are_are_warned_of(network: str) -> None:
    settings = SharedSettings(trusted_proxies=f"127.0.0.0/8, {network}")
    [warning] = exposure_warnings(settings)
    assert warning.startswith(f"{PROXIES}{network}:")


@pytest.mark.parametrize("network", NARROW)
def test_networks_of_proxies_are_not_warned_of(network: str) -> None:
    assert exposure_warnings(SharedSettings(trusted_proxies=network)) == []


def test_the_defaults_expose_nothing() -> None:
    assert exposure_warnings(SharedSettings()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost", "LOCALHOST"])
def test_loopback_is_not_warned_of(host: str) -> None:
    assert exposure_warnings(SharedSettings(host=host)) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "edge.internal"])
def test_a_host_that_others_reach_is_warned_of(host: str) -> None:
    plain, shared = exposure_warnings(SharedSettings(host=host, public_url="http://go.example"))
    assert plain.startswith(f"LINKJOLT_HOST is {host}: API keys and data pass unencrypted")
    assert shared.startswith(f"LINKJOLT_HOST is {host}: reports and /metrics")
    # Behind a proxy that speaks TLS.
    settings = SharedSettings(host=host, public_url="https://go.example")
    assert exposure_warnings(settings) == [shared]


def test_with_a_certificate_of_its_own_nothing_passes_unencrypted() -> None:
    [shared] = exposure_warnings(SharedSettings(host="0.0.0.0", tls_cert="cert.pem"))
    assert shared.startswith("LINKJOLT_HOST is 0.0.0.0: reports and /metrics")


def test_a_key_that_every_user_can_read_is_warned_of(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    settings = SharedSettings(tls_cert="cert.pem", tls_key=str(key))
    assert exposure_warnings(settings) == []
    key.touch(mode=0o640)
    assert exposure_warnings(settings) == []
    key.chmod(0o644)
    [warning] = exposure_warnings(settings)
    assert warning.startswith("LINKJOLT_TLS_KEY can be read by every user")


def test_https_that_nothing_can_speak_is_warned_of() -> None:
    settings = SharedSettings(require_https=True, trusted_proxies=" ")
    [warning] = exposure_warnings(settings)
    assert warning.startswith("LINKJOLT_REQUIRE_HTTPS refuses every request")
    assert exposure_warnings(SharedSettings(require_https=True)) == []


def test_an_empty_host_is_every_address() -> None:
    plain, _ = exposure_warnings(SharedSettings(host=""))
    assert plain.startswith("LINKJOLT_HOST is empty, which is every address: ")


def test_children_of_an_installation_do_not_repeat_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = SharedSettings(trusted_proxies="0.0.0.0/0")
    with capture_logs() as lines:
        warn_of_exposure(settings)
        monkeypatch.setenv(SUPERVISOR_PID, str(os.getpid()))
        warn_of_exposure(settings)
    assert [line["log_level"] for line in lines] == ["warning"]


def test_an_edge_alone_warns_and_makes_its_directory_private(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")}
    variables = {
        "LINKJOLT_REDIS_URL": redis_server.url,
        "LINKJOLT_DATA": str(data),
        "LINKJOLT_EDGE_PORT": "0",
        "LINKJOLT_TRUSTED_PROXIES": "::/0",
    }
    edge = subprocess.Popen(
        [sys.executable, "-m", "linkjolt", "edge"],
        env=inherited | variables,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert edge.stderr
    said = [edge.stderr.readline(), edge.stderr.readline()]
    edge.send_signal(signal.SIGTERM)
    edge.communicate(timeout=30)
    assert "the data directory was open to other users" in said[0]
    assert f"{PROXIES}::/0" in said[1]
    assert data.stat().st_mode & 0o777 == 0o700
