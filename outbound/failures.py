"""Explains in a sentence why a request to an endpoint failed, without the URL or any secret."""

import errno
import ssl
from collections.abc import Iterator
from enum import IntEnum
from typing import cast

import httpx2

_NO_CONNECTION = "No connection was made in time."
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN}
_TLS_UNFINISHED = (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError)


class Progress(IntEnum):
    """How far a request got."""

    connecting = 0
    sending = 1
    sent = 2


def explain_timeout(progress: Progress, seconds: float) -> str:
    """Returns the sentence for a request that was given up after its time."""
    match progress:
        case Progress.connecting:
            return _NO_CONNECTION
        case Progress.sending:
            return f"The request could not be sent within {seconds:g} s."
        case Progress.sent:
            return f"The request was sent, but no answer came within {seconds:g} s."


def explain_failure(error: Exception, progress: Progress) -> str:
    """Returns the sentence for a request that ended with an error."""
    if isinstance(error, httpx2.ConnectTimeout):
        return _NO_CONNECTION
    causes = list(_causes(error))
    if tls := _explain_tls(causes):
        return tls
    if isinstance(error, httpx2.RemoteProtocolError) and "disconnected" not in str(error):
        return "The answer is not valid HTTP."
    if isinstance(error, httpx2.TransportError | OSError):
        return _explain_connection(causes, progress)
    return "The URL cannot be requested."


def _explain_tls(causes: list[BaseException]) -> str | None:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The TLS certificate is not trusted: {cause.verify_message.rstrip('.')}."
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, _TLS_UNFINISHED):
            # Without a reason the connection ended in the handshake.
            return f"The TLS handshake failed: {cause.reason}." if cause.reason else None
    return None


def _explain_connection(causes: list[BaseException], progress: Progress) -> str:
    if progress is Progress.sent:
        return "The request was sent, but the connection was closed without an answer."
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "The connection was refused."
    if any(isinstance(cause, OSError) and cause.errno in _UNREACHABLE for cause in causes):
        return "The host cannot be reached."
    return "The connection was closed before the request was sent."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and what led to it; those of several addresses one after the other."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _causes(inner)
    if cause := error.__cause__ or error.__context__:
        yield from _causes(cause)
