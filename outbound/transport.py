"""Posts to an endpoint: only to checked addresses, within bounds of time and size."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import Self

import httpx2
import msgspec

from linkjolt import __version__
from linkjolt.clicks.addresses import canonical_address
from linkjolt.reasons import Rejected
from linkjolt.webhooks.allowed_targets import PrivateTargets, WebhookTarget, parse_target
from outbound.failures import Progress, explain_failure, explain_timeout
from outbound.resolver import ResolveFailed, Resolver

# From the connection to the status of the answer; the name is looked up before.
TIMEOUT_SECONDS = 10.0
ANSWER_MAX_BYTES = 64 << 10
_RECORDED_MAX_BYTES = 1_024
_ADDRESSES_MAX = 3
# Of the time, for TCP, and for TLS: less than all for both, as the transport leaves the socket open
# when a handshake is cancelled from outside.
_CONNECT_SHARE = 0.45
_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": f"LinkJolt-Webhooks/{__version__}",
    "Accept": "*/*",
    # No answer is decompressed.
    "Accept-Encoding": "identity",
}
_tls = ssl.create_default_context()


class EndpointResponse(msgspec.Struct, frozen=True):
    """The response of an endpoint; status 0 and `error` if there was none."""

    status: int
    took_ms: int
    retry_after: str = ""
    start: str = ""
    error: str = ""

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


class TargetNotAllowed(Exception):
    """The host resolves to an address that webhooks may not reach; the message is a sentence."""


class _OutgoingRequest(httpx2.AsyncByteStream):
    """One request's body, and what is known of its answer so far."""

    __slots__ = ("_body", "progress", "retry_after", "start", "status")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.progress = Progress.connecting
        self.status = 0
        self.retry_after = ""
        self.start = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # Asked for once the head is sent, and continued once the body is.
        self.progress = Progress.sending
        yield self._body
        self.progress = Progress.sent


class EndpointClient:
    """Posts to the URL of one endpoint; keeps its connections between deliveries."""

    def __init__(
        self, url: str, resolver: Resolver, *, connections: int, allowed: PrivateTargets
    ) -> None:
        self._url = url
        self._target: WebhookTarget | None = None
        self._resolver = resolver
        self._allowed = allowed
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        # Without a client around it: that keeps cookies and sends them back.
        self._transport = httpx2.AsyncHTTPTransport(verify=_tls, limits=limits, trust_env=False)
        self._connected_to = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.aclose()

    async def post(self, body: bytes, headers: dict[str, str]) -> EndpointResponse:
        """Sends a body; any failure is returned in the response.

        A status that arrives in time is the response, however its body goes on.
        """
        started_at = time.monotonic()
        sent = _OutgoingRequest(body)
        failure = await self._failure(sent, headers | {"Content-Length": str(len(body))})
        took_ms = round((time.monotonic() - started_at) * 1000)
        if not sent.status:
            return EndpointResponse(0, took_ms, error=failure)
        start = sent.start.decode("utf-8", "replace")
        return EndpointResponse(sent.status, took_ms, sent.retry_after, start)

    async def _failure(self, sent: _OutgoingRequest, headers: dict[str, str]) -> str:
        """Makes the request; returns why it failed, or an empty text."""
        try:
            target = self._parsed_target()
            addresses = await self._addresses(target)
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._post(target, addresses, headers, sent)
        except TimeoutError:
            return explain_timeout(sent.progress, TIMEOUT_SECONDS)
        except Rejected as error:
            return f"The URL {error.message}."
        except (TargetNotAllowed, ResolveFailed) as error:
            return str(error)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return explain_failure(error, sent.progress)
        return ""

    def _parsed_target(self) -> WebhookTarget:
        if self._target is None:
            self._target = parse_target(self._url, self._allowed)
        return self._target

    async def _post(
        self,
        target: WebhookTarget,
        addresses: list[str],
        headers: dict[str, str],
        sent: _OutgoingRequest,
    ) -> None:
        """Posts to the first address that accepts a connection."""
        # The one that did last time first: one that swallows packets costs its share of the time.
        addresses = sorted(addresses, key=lambda address: address != self._connected_to)
        connect_seconds = TIMEOUT_SECONDS * _CONNECT_SHARE / len(addresses)
        for number, address in enumerate(addresses, 1):
            try:
                await self._post_to(target, address, connect_seconds, headers, sent)
                return
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if number == len(addresses):
                    self._resolver.forget(target.host)
                    raise

    async def _post_to(
        self,
        target: WebhookTarget,
        address: str,
        connect_seconds: float,
        headers: dict[str, str],
        sent: _OutgoingRequest,
    ) -> None:
        # The address replaces the name, so that it is not resolved again; TLS and the Host header
        # still have the name.
        url, host = _url_at(target.url, address)
        request = httpx2.Request(
            "POST",
            url,
            headers={"Host": host, **_HEADERS, **headers},
            stream=sent,
            extensions={"sni_hostname": target.host, "timeout": {"connect": connect_seconds}},
        )
        response = await self._transport.handle_async_request(request)
        self._connected_to = address
        try:
            sent.retry_after = response.headers.get("retry-after", "")
            sent.status = response.status_code
            # The status counts, whatever becomes of the body.
            with suppress(httpx2.HTTPError):
                await _read_start(response, sent)
        finally:
            await response.aclose()

    async def _addresses(self, target: WebhookTarget) -> list[str]:
        """Resolves the host to its addresses; raises TargetNotAllowed if one is not allowed."""
        address = canonical_address(target.host)
        addresses = [address] if address else await self._resolver.resolve(target.host)
        if not all(target.may_be_at(address, self._allowed) for address in addresses):
            kind = "allowed for its URL" if target.private_only else "public"
            raise TargetNotAllowed(f"{target.host} leads to an address that is not {kind}.")
        return addresses[:_ADDRESSES_MAX]


@lru_cache(maxsize=1_024)
def _url_at(url: str, address: str) -> tuple[httpx2.URL, str]:
    """Puts an address in place of a URL's host; returns both."""
    parsed = httpx2.URL(url)
    return parsed.copy_with(host=address), parsed.netloc.decode()


async def _read_start(response: httpx2.Response, sent: _OutgoingRequest) -> None:
    """Reads the body up to its bound, so that the connection can be used again."""
    size = 0
    async for chunk in response.aiter_raw():
        sent.start = (sent.start + chunk)[:_RECORDED_MAX_BYTES]
        size += len(chunk)
        if size > ANSWER_MAX_BYTES:
            break
