"""Makes certificates for tests: an authority of the test's own, and what it signs."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

_NAMES = [
    x509.DNSName("go.example"),
    x509.DNSName("localhost"),
    x509.IPAddress(ip_address("127.0.0.1")),
]


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


class Authority:
    """Signs certificates for this machine; `path` is the file by which clients trust it."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Test authority")
        self.path = folder / "authority.pem"
        now = datetime.now(UTC)
        own = self._sign(self._name, self._key, now - timedelta(days=2), now + timedelta(days=9))
        self.path.write_bytes(own.public_bytes(Encoding.PEM))

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
    ) -> x509.Certificate:
        is_authority = subject == self._name
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName(_NAMES), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())

    def issue(
        self, *, days: float = 5, since_days: float = 1, passphrase: bytes = b""
    ) -> tuple[bytes, bytes]:
        """Returns a certificate, valid for so many days from now, and its key in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        begin, end = now - timedelta(days=since_days), now + timedelta(days=days)
        signed = self._sign(_name("go.example"), key, begin, end)
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase:
            encryption = BestAvailableEncryption(passphrase)
        written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        return signed.public_bytes(Encoding.PEM), written


def fingerprint(pem: bytes) -> bytes:
    """Returns the SHA-256 of the first certificate of a PEM file."""
    return x509.load_pem_x509_certificates(pem)[0].fingerprint(hashes.SHA256())
