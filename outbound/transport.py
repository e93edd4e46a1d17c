"""Posts to an endpoint: only to checked addresses, within bounds of time and size."""

import asyncio
import socket
import ssl
import time
from types import TracebackType
from typing import Self

import httpx2
import msgspec

from linkjolt import __version__
from linkjolt.reasons import Rejected
from linkjolt.webhooks.allowed_targets import WebhookTarget, is_public, parse_target

TIMEOUT_SECONDS = 10.0
ANSWER_MAX_BYTES = 64 << 10
_RECORDED_MAX_BYTES = 1_024
_RESOLVED_SECONDS = 30.0
_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": f"LinkJolt-Webhooks/{__version__}",
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


class TargetNotAllowed(Exception):
    """The host resolves to an address that webhooks may not reach."""


class EndpointClient:
    """Posts to the URL of one endpoint; keeps its connections between deliveries."""

    def __init__(self, url: str, *, connections: int, allow_private: bool) -> None:
        self._url = url
        self._allow_private = allow_private
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = httpx2.AsyncClient(
            verify=_tls, limits=limits, follow_redirects=False, trust_env=False, headers=_HEADERS
        )
        self._resolved: tuple[float, list[str]] = (0.0, [])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def post(self, body: bytes, headers: dict[str, str]) -> EndpointResponse:
        """Sends a body; any failure is returned in the response."""
        started_at = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                target = parse_target(self._url, allow_private=self._allow_private)
                status, retry_after, start = await self._post(target, body, headers)
        except TimeoutError:
            return _failed(started_at, f"no answer within {TIMEOUT_SECONDS:.0f} s")
        except Rejected as error:
            return _failed(started_at, f"the url {error.message}")
        except TargetNotAllowed as error:
            return _failed(started_at, str(error))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ssl.SSLError, ValueError) as error:
            return _failed(started_at, f"{type(error).__name__}: {error}"[:200])
        return EndpointResponse(status, _ms_since(started_at), retry_after, start)

    async def _post(
        self, target: WebhookTarget, body: bytes, headers: dict[str, str]
    ) -> tuple[int, str, str]:
        addresses = await self._addresses(target)
        for number, address in enumerate(addresses, 1):
            try:
                return await self._post_to(target, address, body, headers)
            except httpx2.ConnectError:
                if number == len(addresses):
                    self._resolved = (0.0, [])
                    raise
        raise TargetNotAllowed(f"{target.host} has no address")

    async def _post_to(
        self, target: WebhookTarget, address: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, str, str]:
        url = httpx2.URL(target.url)
        host = url.netloc.decode()
        # The address replaces the name, so that it is not resolved again; TLS and the Host header
        # still have the name.
        request = self._client.build_request(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers={**headers, "Host": host},
            extensions={"sni_hostname": target.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            start, size = b"", 0
            async for chunk in response.aiter_raw():
                start, size = (start + chunk)[:_RECORDED_MAX_BYTES], size + len(chunk)
                if size > ANSWER_MAX_BYTES:
                    break
        finally:
            await response.aclose()
        retry_after = response.headers.get("retry-after", "")
        return response.status_code, retry_after, start.decode("utf-8", "replace")

    async def _addresses(self, target: WebhookTarget) -> list[str]:
        """Resolves the host to its addresses; raises TargetNotAllowed if one is not allowed."""
        expires_at, cached = self._resolved
        if cached and time.monotonic() < expires_at:
            return cached
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
        if not self._allow_private:
            for address in addresses:
                if not is_public(address):
                    raise TargetNotAllowed(f"{target.host} leads to an address that is not public")
        self._resolved = (time.monotonic() + _RESOLVED_SECONDS, addresses)
        return addresses


def _failed(started_at: float, error: str) -> EndpointResponse:
    return EndpointResponse(0, _ms_since(started_at), error=error)


def _ms_since(started_at: float) -> int:
    return round((time.monotonic() - started_at) * 1000)
