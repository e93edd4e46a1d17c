"""Loads the certificate of a listener, and takes up a renewed one while it serves."""

import asyncio
import os
import ssl
from datetime import UTC, date, datetime, timedelta

import msgspec
import structlog
from cryptography import x509

from linkjolt.settings import BadSetting, SharedSettings
from linkjolt.web import metrics

_CERT, _KEY = "LINKJOLT_TLS_CERT", "LINKJOLT_TLS_KEY"
_POLL_SECONDS = 1.0
_DAY = timedelta(days=1)
# Certbot renews with a third of the time left, 30 of 90 days: later something is wrong with it.
_WARN_DAYS_MAX = 14
_WARN_SHARE = 1 / 4
# Those of Mozilla's intermediate profile with forward secrecy and AEAD; TLS 1.3 has its own.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

# OpenSSL's words for a key of another certificate; the last one is for one of another kind.
_OTHERS_KEY = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
# A command reaches the listeners of its own machine without a network between: where https is
# required of a plain listener, loopback is the trusted proxy.
LOCAL_HEADERS = {"X-Forwarded-Proto": "https"}

_log = structlog.get_logger()
# Of each file: device, inode, size, time of change; None while one is missing.
_Signature = tuple[tuple[int, int, int, int], ...] | None


class CertificatePair(msgspec.Struct, frozen=True):
    """A certificate and its key that passed every check, ready for handshakes."""

    context: ssl.SSLContext
    begins_at: datetime
    expires_at: datetime

    def days_left(self, now: datetime) -> float:
        """Counts the days until it expires; negative afterwards."""
        return (self.expires_at - now) / _DAY

    def is_late(self, now: datetime) -> bool:
        """Returns whether it should have been renewed by now."""
        lifetime_days = (self.expires_at - self.begins_at) / _DAY
        return self.days_left(now) < min(_WARN_DAYS_MAX, lifetime_days * _WARN_SHARE)


def read_pair(cert: str, key: str, now: datetime) -> CertificatePair:
    """Reads and checks a certificate with its chain, and its key.

    BadSetting, naming the variable, for files that cannot be read or hold something else, for a
    key of another certificate, and for a certificate that is not valid now.
    """
    leaf = _read_leaf(cert)
    _check_key(key)
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now >= end:
        raise BadSetting(f"{_CERT}: {cert} expired at {end:%Y-%m-%d %H:%M} UTC")
    if now < begin:
        raise BadSetting(f"{_CERT}: {cert} is not valid before {begin:%Y-%m-%d %H:%M} UTC")
    context = _new_context()
    try:
        context.load_cert_chain(cert, key, password=_refuse_password)
    except ssl.SSLError as error:
        if error.reason in _OTHERS_KEY:
            raise BadSetting(f"{_KEY}: {key} is not the key of the certificate {cert}") from None
        raise BadSetting(f"{_CERT}: {cert} cannot be used: {_words(error)}") from None
    except (OSError, ValueError) as error:
        raise BadSetting(f"{_KEY}: {key} cannot be used: {error}") from None
    return CertificatePair(context, begin, end)


def _read_leaf(path: str) -> x509.Certificate:
    try:
        # RFC 8446, 4.4.2: the listener's own comes first.
        return x509.load_pem_x509_certificates(_read(_CERT, path))[0]
    except ValueError:
        raise BadSetting(f"{_CERT}: {path} holds no certificate in PEM") from None


def _check_key(path: str) -> None:
    text = _read(_KEY, path)
    if b"PRIVATE KEY-----" not in text:
        raise BadSetting(f"{_KEY}: {path} holds no private key in PEM")
    if b"ENCRYPTED" in text:
        raise BadSetting(f"{_KEY}: {path} is encrypted: store the key without a passphrase")


def _read(variable: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadSetting(f"{variable}: {path}: {error.strerror}") from None


def _refuse_password() -> str:
    # OpenSSL would ask for it on the terminal.
    raise ValueError("it is encrypted")


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    # Edges that share a port cannot read each other's tickets, and one outlives the certificate.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    return context


def local_client_context(cert: str) -> ssl.SSLContext:
    """Makes a context for requests to this machine's listeners, which serve the certificate.

    They are reached by an address that the certificate need not name: it is compared itself.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cert)
    return context


def open_tls(settings: SharedSettings, listener: str) -> "ListenerTls | None":
    """Reads the certificate of a listener; None without one. BadSetting as `read_pair`."""
    if not settings.tls_cert and not settings.tls_key:
        return None
    if not settings.tls_cert or not settings.tls_key:
        missing, given = (_CERT, _KEY) if settings.tls_key else (_KEY, _CERT)
        raise BadSetting(f"{missing} is missing: {given} is set, and needs it")
    return ListenerTls(settings, listener)


class ListenerTls:
    """The certificate that a listener serves in new handshakes; open connections keep theirs."""

    def __init__(self, settings: SharedSettings, listener: str) -> None:
        self._cert, self._key = settings.tls_cert, settings.tls_key
        self._listener = listener
        self._loaded = self._seen = self._read_signature()
        self._pair = read_pair(self._cert, self._key, datetime.now(UTC))
        self._warned_on: date | None = None
        self.hsts_seconds = settings.hsts_seconds

    @property
    def context(self) -> ssl.SSLContext:
        return self._pair.context

    async def follow(self) -> None:
        """Takes up renewed files, for ever."""
        while True:
            await asyncio.to_thread(self.poll)
            self._report_expiry(datetime.now(UTC))
            await asyncio.sleep(_POLL_SECONDS)

    def poll(self) -> None:
        """Reads the files again once they have changed and then stayed the same for one poll.

        Certificate and key are replaced one after the other. A pair that cannot be used is logged,
        and the former one stays.
        """
        signature = self._read_signature()
        settled, self._seen = signature == self._seen, signature
        if signature == self._loaded or not settled:
            return
        self._loaded = signature
        try:
            self._pair = read_pair(self._cert, self._key, datetime.now(UTC))
        except BadSetting as error:
            metrics.CERTIFICATE_RELOADS.labels("refused").inc()
            _log.error("renewed certificate not usable, the former one stays", reason=str(error))
        else:
            metrics.CERTIFICATE_RELOADS.labels("loaded").inc()
            _log.info("renewed certificate loaded", expires_at=self._pair.expires_at.isoformat())

    def _report_expiry(self, now: datetime) -> None:
        days = self._pair.days_left(now)
        metrics.CERTIFICATE_DAYS.labels(self._listener).set(days)
        if self._pair.is_late(now) and self._warned_on != now.date():
            self._warned_on = now.date()
            expires_at = self._pair.expires_at.isoformat()
            if days > 0:
                _log.warning("the certificate expires soon", expires_at=expires_at)
            else:
                _log.error("the certificate has expired", expires_at=expires_at)

    def _read_signature(self) -> _Signature:
        try:
            found = [os.stat(path) for path in (self._cert, self._key)]
        except OSError:
            return None
        return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in found)
