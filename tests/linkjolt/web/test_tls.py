"""Certificates are checked before they are served, and renewed ones are taken up."""

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import REGISTRY

from linkjolt.settings import BadSetting, SharedSettings
from linkjolt.web.tls import ListenerTls, open_tls, read_pair
from tests.certificates import Authority


class Files:
    """A certificate's file and its key's, as a listener's settings name them."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.write(*self.authority.issue())

    def write(self, cert: bytes, key: bytes) -> None:
        self.cert.write_bytes(cert)
        self.key.write_bytes(key)

    def settings(self) -> SharedSettings:
        return SharedSettings(tls_cert=str(self.cert), tls_key=str(self.key))

    def refusal(self) -> str:
        with pytest.raises(BadSetting) as refused:
            open_tls(self.settings(), "edge")
        return str(refused.value)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_certificate_needs_its_key_and_a_key_its_certificate() -> None:
    assert open_tls(SharedSettings(), "edge") is None
    one_sided = {"KEY": SharedSettings(tls_cert="a"), "CERT": SharedSettings(tls_key="a")}
    for missing, settings in one_sided.items():
        with pytest.raises(BadSetting, match=f"^LINKJOLT_TLS_{missing} is missing"):
            open_tls(settings, "edge")


def test_a_file_that_is_missing_or_a_directory_is_named(files: Files) -> None:
    files.key.unlink()
    assert files.refusal() == f"LINKJOLT_TLS_KEY: {files.key}: No such file or directory"
    files.cert.unlink()
    files.cert.mkdir()
    assert files.refusal() == f"LINKJOLT_TLS_CERT: {files.cert}: Is a directory"


def test_a_file_that_holds_something_else_is_named(files: Files) -> None:
    cert, key = files.authority.issue()
    files.write(key, key)
    assert files.refusal() == f"LINKJOLT_TLS_CERT: {files.cert} holds no certificate in PEM"
    files.write(cert, cert)
    assert files.refusal() == f"LINKJOLT_TLS_KEY: {files.key} holds no private key in PEM"
    files.write(cert, b"")
    assert files.refusal() == f"LINKJOLT_TLS_KEY: {files.key} holds no private key in PEM"
    files.write(cert, key[: len(key) // 2] + b"\n-----END PRIVATE KEY-----\n")
    assert files.refusal().startswith("LINKJOLT_TLS_")


def test_another_certificates_key_is_refused(files: Files) -> None:
    files.key.write_bytes(files.authority.issue()[1])
    refusal = f"LINKJOLT_TLS_KEY: {files.key} is not the key of the certificate {files.cert}"
    assert files.refusal() == refusal
    other_kind = rsa.generate_private_key(65_537, 2_048)
    files.key.write_bytes(
        other_kind.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    assert files.refusal() == refusal


def test_an_encrypted_key_is_refused_and_nobody_asked_for_its_passphrase(files: Files) -> None:
    files.write(*files.authority.issue(passphrase=b"secret"))
    assert files.refusal() == (
        f"LINKJOLT_TLS_KEY: {files.key} is encrypted: store the key without a passphrase"
    )


@pytest.mark.parametrize(
    ("days", "since_days", "words"), [(-0.5, 1, " expired at 2"), (2, -1, " is not valid before 2")]
)
def test_a_certificate_that_is_not_valid_now_is_refused(
    files: Files, days: float, since_days: float, words: str
) -> None:
    files.write(*files.authority.issue(days=days, since_days=since_days))
    assert files.refusal().startswith(f"LINKJOLT_TLS_CERT: {files.cert}{words}")


def test_only_tls_12_with_forward_secrecy_and_tls_13_are_spoken(files: Files) -> None:
    context = read_pair(str(files.cert), str(files.key), datetime.now(UTC)).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    ciphers = {cipher["name"] for cipher in context.get_ciphers()}
    assert ciphers
    assert not {name for name in ciphers if not name.startswith(("TLS_", "ECDHE-"))}
    assert not {name for name in ciphers if not ("GCM" in name or "POLY1305" in name)}


def test_it_is_late_to_renew_in_the_last_two_weeks_or_the_last_quarter(files: Files) -> None:
    for lifetime, late in ((90, 13), (6, 1.4)):
        files.write(*files.authority.issue(days=lifetime, since_days=0))
        now = datetime.now(UTC)
        pair = read_pair(str(files.cert), str(files.key), now)
        assert pair.days_left(now) == pytest.approx(lifetime, abs=0.01)
        assert pair.is_late(now + timedelta(days=lifetime - late))
        assert not pair.is_late(now + timedelta(days=lifetime - late - 2))


def reloads(outcome: str) -> float:
    labels = {"outcome": outcome}
    return REGISTRY.get_sample_value("linkjolt_tls_certificate_reloads_total", labels) or 0


@pytest.fixture
def served(files: Files) -> ListenerTls:
    return ListenerTls(files.settings(), "edge")


def test_a_renewed_pair_is_taken_up_once_its_files_have_settled(
    files: Files, served: ListenerTls
) -> None:
    first, loaded = served.context, reloads("loaded")
    served.poll()
    assert served.context is first
    cert, key = files.authority.issue()
    # Between the two files they do not belong together, and nothing is logged of that.
    files.cert.write_bytes(cert)
    served.poll()
    files.key.write_bytes(key)
    served.poll()
    assert served.context is first
    served.poll()
    second = served.context
    assert second is not first
    served.poll()
    assert served.context is second
    assert reloads("loaded") == loaded + 1


@pytest.mark.parametrize("broken", ["mismatch", "garbage", "expired", "missing"])
def test_a_broken_pair_leaves_the_former_one_in_use_until_it_is_repaired(
    files: Files, served: ListenerTls, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, refused = served.context, reloads("refused")
    if broken == "missing":
        files.cert.unlink()
    elif broken == "garbage":
        files.cert.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    elif broken == "expired":
        files.write(*files.authority.issue(days=-0.1))
    else:
        files.key.write_bytes(files.authority.issue()[1])
    for _ in range(4):
        served.poll()
    assert served.context is first
    # Once, however often it is looked at.
    assert reloads("refused") == refused + 1
    assert capsys.readouterr().out.count("not usable") == 1
    files.write(*files.authority.issue())
    served.poll()
    served.poll()
    assert served.context is not first


def test_symlinks_are_followed_as_certbot_replaces_them(files: Files, tmp_path: Path) -> None:
    archive, live = tmp_path / "archive", tmp_path / "live"
    archive.mkdir()
    live.mkdir()

    def renew(number: int) -> None:
        written = zip(("cert", "key"), files.authority.issue(), strict=True)
        for name, text in written:
            (archive / f"{name}{number}.pem").write_bytes(text)
            (live / "new").symlink_to(archive / f"{name}{number}.pem")
            os.replace(live / "new", live / f"{name}.pem")

    renew(1)
    settings = SharedSettings(tls_cert=str(live / "cert.pem"), tls_key=str(live / "key.pem"))
    served = ListenerTls(settings, "edge")
    first = served.context
    renew(2)
    served.poll()
    served.poll()
    assert served.context is not first
