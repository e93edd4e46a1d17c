"""Runs two edges that differ in one setting, `fast_clicks`, each with a Redis-protocol server.

Their registries are equal, so that their answers and stored clicks can be compared.
"""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import cast

import httpx2
import msgspec
import redis

from linkjolt import datasets, redis_keys
from linkjolt.events import Click
from linkjolt.money import Percentage
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.bound_children import bound
from linkjolt.runtime.redis_server import RedisServer, free_port
from linkjolt.storage.redis import StreamEntry, connect
from loadtests.chaos_instance import UNLIMITED, RunFailed, wait_for

_ROOT = Path(__file__).parents[1]
_START_SECONDS = 60
_END_SECONDS = 20
_PAGE = 1_000
_SHOP = "https://shop.example/p"
_EVERY_MACRO = (
    f"{_SHOP}/{{tracking_code}}?c={{click_id}}&l={{link_id}}&a={{affiliate_id}}&m={{campaign_id}}"
    "&s={sub1}&raw={_sub2}&e={external_id}&d={device}&o={os}&b={browser}&g={language}"
    "&co={country}&r={referrer_host}&t={timestamp}#{sub3}"
)
# Links by tracking code: their fields, except the campaign.
LINKS: dict[str, dict[str, object]] = {
    "tc_PLAIN": {"destination": _SHOP},
    "tc_MACROS": {"destination": _EVERY_MACRO},
    "tc_FRAGMENT": {"destination": f"{_SHOP}?a=1&sub1=own#part"},
    "tc_NONE": {"destination": f"{_SHOP}?a=1", "pass_params": "none"},
    "tc_LIST": {"destination": f"{_SHOP}?a=1", "pass_params": ("a", "sub1")},
    "tc_UMLAUT": {"destination": "https://shop.example/grüße?größe={sub1}&x=ü#ß"},
    "tc_OFF": {"destination": _SHOP, "status": "disabled"},
    "tc_MOVED": {"destination": _SHOP, "status": "disabled", "fallback_url": f"{_SHOP}/over"},
    "tc_GONE": {"destination": _SHOP, "deleted_at": datetime(2026, 1, 1, tzinfo=UTC)},
    "summer-sale": {"destination": f"{_SHOP}?ref={{affiliate_id}}"},
}
# Valid at both edges; it may write conversions.
KEY = api_key_secrets.make_secret()


class PairedEdge:
    """`linkjolt edge` on its own port, with its own Redis-protocol server and data."""

    def __init__(self, folder: Path, *, fast: bool, redis_timeout_seconds: float) -> None:
        self.fast = fast
        self._redis_timeout_seconds = redis_timeout_seconds
        folder.mkdir()
        self.log = folder / "edge.log"
        self.port = free_port()
        self.redis = RedisServer(folder / "redis", appendfsync="everysec")
        self.redis_process = self.redis.start()
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Starts the edge; `wait_ready` returns once it serves."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")}
        variables = {
            "PYTHONPATH": str(_ROOT),
            # The order of a set shows in the Allow header.
            "PYTHONHASHSEED": "0",
            "LINKJOLT_REDIS_URL": self.redis.url,
            "LINKJOLT_DATA": str(self._folder),
            "LINKJOLT_EDGE_PORT": str(self.port),
            "LINKJOLT_FAST_CLICKS": str(self.fast).lower(),
            **UNLIMITED,
            "LINKJOLT_TRUSTED_PROXIES": "127.0.0.1",
            "LINKJOLT_COUNTRY_HEADER": "CF-IPCountry",
            "LINKJOLT_REGION_HEADER": "CF-Region-Code",
            "LINKJOLT_REDIS_TIMEOUT_SECONDS": str(self._redis_timeout_seconds),
        }
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                bound([sys.executable, "-P", "-m", "linkjolt", "edge"]),
                env=inherited | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def wait_ready(self) -> None:
        """Returns once the edge serves and has every link in memory; raises RunFailed if not."""
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as client:

            async def ready() -> bool:
                if self.process and self.process.poll() is not None:
                    raise RunFailed(f"the edge ended: see {self.log}")
                with suppress(httpx2.HTTPError):
                    return (await client.get("/readyz")).status_code == 200
                return False

            await wait_for(f"the edge serves: see {self.log}", ready, _START_SECONDS)
            for code in LINKS:
                await client.get(f"/{code}?notrack=1")

    @property
    def key_file(self) -> Path:
        """Returns the file whose keys seal the secrets in its Redis."""
        return self._folder / "secret.key"

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def resident_bytes(self) -> int:
        """Reads the resident memory of the edge process; 0 if the system does not show it."""
        with suppress(OSError):
            status = Path(f"/proc/{self.pid}/status").read_text()
            found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
            return int(found[1]) * 1024 if found else 0
        return 0

    def errors(self) -> list[str]:
        """Lists the log's lines of level error."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if '"level": "error"' in line or line.startswith("Trace")]

    def stop(self) -> int:
        """Sends SIGTERM and returns the exit status."""
        assert self.process
        self.process.terminate()
        return self.process.wait(_END_SECONDS)

    def end(self) -> None:
        """Kills the processes that still run."""
        for process in (self.process, self.redis_process):
            if process and process.poll() is None:
                process.kill()
                process.wait()


class EdgePair(msgspec.Struct, frozen=True):
    """An edge that answers every click in the application, and one that answers plain ones before.

    `fast` is the latter.
    """

    ordinary: PairedEdge
    fast: PairedEdge

    @property
    def edges(self) -> tuple[PairedEdge, PairedEdge]:
        return self.ordinary, self.fast


@contextmanager
def running(folder: Path, redis_timeout_seconds: float = 10) -> Generator[EdgePair]:
    """Runs both edges, with LINKS in memory, for the duration of the block.

    The default timeout is long: on a busy machine clicks would go to the spool and arrive late.
    """
    ordinary, fast = [
        PairedEdge(folder / name, fast=name == "fast", redis_timeout_seconds=redis_timeout_seconds)
        for name in ("ordinary", "fast")
    ]
    pair = EdgePair(ordinary, fast)
    try:
        for edge in pair.edges:
            edge.redis.wait_ready(edge.redis_process)
        asyncio.run(_start(pair))
        yield pair
    finally:
        for edge in pair.edges:
            edge.end()


async def _start(pair: EdgePair) -> None:
    for edge in pair.edges:
        async with connect(edge.redis.url) as client:
            await _fill(Registry(client))
        edge.spawn()
    await asyncio.gather(*(edge.wait_ready() for edge in pair.edges))


async def _fill(registry: Registry) -> None:
    now, account = datetime(2026, 1, 1, tzinfo=UTC), datasets.ACCOUNT_DEFAULT
    terms = Percentage(rate=Decimal(30))
    for param in ("click_id", "cid"):
        campaign = Campaign(
            number=0,
            account=account,
            name="Spring",
            currency="USD",
            commission=terms,
            click_id_param=param,
            created_at=now,
        )
        await registry.create(campaign)
    await registry.create(Affiliate(number=0, account=account, name="Ann", created_at=now))
    for code, fields in LINKS.items():
        link = {
            "number": 0,
            "account": account,
            "campaign": 2 if code == "summer-sale" else 1,
            "affiliate": 1,
            "tracking_code": code,
            "created_at": now,
        }
        await registry.create(msgspec.convert({**link, **fields}, Link))
    key = ApiKey(
        number=0,
        account=account,
        name="conformance",
        scopes=("conversions:write",),
        digest=api_key_secrets.digest(KEY),
        hint=api_key_secrets.hint(KEY),
        created_at=now,
    )
    await registry.create(key)


class ClickStreamReader:
    """Reads the clicks of an edge's stream incrementally, without their ids."""

    def __init__(self, edge: PairedEdge) -> None:
        # Synchronous: these reads are short, and several event loops share the client.
        self._redis = redis.Redis.from_url(edge.redis.url)  # pyright: ignore[reportUnknownMemberType]
        self._after = "-"

    def read_new(self) -> list[Click]:
        """Reads the clicks since the last call, in the stream's order."""
        return list(self._read())

    def _read(self) -> Iterator[Click]:
        more = True
        while more:
            found = self._redis.xrange(redis_keys.clicks(0).key, self._after, count=_PAGE)
            rows = cast("list[StreamEntry]", found)
            for position, fields in rows:
                self._after = f"({position.decode()}"
                for line in fields[b"f"].split(b"\n"):
                    click = msgspec.json.decode(line, type=Click)
                    yield msgspec.structs.replace(click, click_id="")
            more = len(rows) == _PAGE

    def close(self) -> None:
        self._redis.close()
