"""One POST to an endpoint: only to an address that was checked, within bounds of time and size."""

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
from linkjolt.webhooks.allowed_targets import Target, is_public, read_target

TIMEOUT_SECONDS = 10.0
ANSWER_MAX_BYTES = 64 << 10
_SHOWN_MAX_BYTES = 1_024
_RESOLVED_SECONDS = 30.0
_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": f"LinkJolt-Webhooks/{__version__}",
    # Nothing of an answer is unpacked.
    "Accept-Encoding": "identity",
}
_tls = ssl.create_default_context()


class Answer(msgspec.Struct, frozen=True):
    """What came back: status 0 where nothing did, and `error` says why."""

    status: int
    took_ms: int
    retry_after: str = ""
    start: str = ""
    error: str = ""


class NotAllowed(Exception):
    """The name leads to an address where no webhook may go."""


class Endpoint:
    """Connections to one endpoint's URL, kept between deliveries; none to any other host."""

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

    async def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Sends a body; whatever goes wrong is in the answer."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                target = read_target(self._url, allow_private=self._allow_private)
                status, retry_after, start = await self._post(target, body, headers)
        except TimeoutError:
            return _failed(began, f"no answer within {TIMEOUT_SECONDS:.0f} s")
        except Rejected as error:
            return _failed(began, f"the url {error.message}")
        except NotAllowed as error:
            return _failed(began, str(error))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ssl.SSLError, ValueError) as error:
            return _failed(began, f"{type(error).__name__}: {error}"[:200])
        return Answer(status, _ms_since(began), retry_after, start)

    async def _post(
        self, target: Target, body: bytes, headers: dict[str, str]
    ) -> tuple[int, str, str]:
        addresses = await self._addresses(target)
        for number, address in enumerate(addresses, 1):
            try:
                return await self._post_to(target, address, body, headers)
            except httpx2.ConnectError:
                if number == len(addresses):
                    self._resolved = (0.0, [])
                    raise
        raise NotAllowed(f"{target.host} has no address")

    async def _post_to(
        self, target: Target, address: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, str, str]:
        url = httpx2.URL(target.url)
        host = url.netloc.decode()
        # The address takes the name's place, so that nothing resolves it anew; TLS and the
        # endpoint still hear the name.
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
                start, size = (start + chunk)[:_SHOWN_MAX_BYTES], size + len(chunk)
                if size > ANSWER_MAX_BYTES:
                    break
        finally:
            await response.aclose()
        retry_after = response.headers.get("retry-after", "")
        return response.status_code, retry_after, start.decode("utf-8", "replace")

    async def _addresses(self, target: Target) -> list[str]:
        """Every address of the host, each of them allowed."""
        until, known = self._resolved
        if known and time.monotonic() < until:
            return known
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        if not self._allow_private:
            for address in addresses:
                if not is_public(address):
                    raise NotAllowed(f"{target.host} leads to an address that is not public")
        self._resolved = (time.monotonic() + _RESOLVED_SECONDS, addresses)
        return addresses


def _failed(began: float, error: str) -> Answer:
    return Answer(0, _ms_since(began), error=error)


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
