"""`linkjolt up`: runs a whole installation on this machine until it is stopped."""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import click
import structlog
from redis.exceptions import RedisError

from linkjolt import logs
from linkjolt.registry.sealed.start import prepare_sealing
from linkjolt.runtime import instance, lifecycle, redis_server
from linkjolt.runtime.exposure import warn_of_exposure
from linkjolt.runtime.redis_server import RedisServer, RedisServerFailed
from linkjolt.settings import KINDS, UpSettings, load
from linkjolt.storage.redis import connect, rewrite_file
from linkjolt.storage.sealing import Sealer
from linkjolt.up.demo import demo_lines, open_demo, show_key
from linkjolt.up.fleet import Fleet, InstallationPlaces
from linkjolt.up.owner import owner_link, show_link
from linkjolt.web import server
from linkjolt.web.tls import local_client_context, open_tls

_POLL_SECONDS = 0.02
_WARN_EVERY_SECONDS = 10.0
_RETRY_SECONDS = 0.5

_log = structlog.get_logger()


@click.command()
@click.option("--data", metavar="DIR", help="Directory of all data and of run.json.")
@click.option("--host", help="Address that the listeners bind.")
@click.option("--edge-port", type=int, help="Port of links and conversions; 0 takes a free one.")
@click.option("--reports-port", type=int, help="Port of reports; 0 takes a free one.")
@click.option("--edges", type=int, help="Edge processes; 0: one per core less one.")
@click.option("--demo", is_flag=True, help="Make a demo link and key, and print how to use them.")
def up(demo: bool, **options: str | int | None) -> None:
    """Run everything on this machine: Redis server, edges, aggregator, reports.

    Each option is also a LINKJOLT_* variable.
    """
    settings = load(UpSettings, overrides=options)
    for kind in KINDS:
        # A bad value stops the start here, not in a child that is restarted again and again.
        load(kind, overrides=options)
    if not settings.clickhouse_url and find_spec("chdb") is None:
        raise click.ClickException(
            "the embedded ClickHouse is missing: install linkjolt[embedded],"
            " or set LINKJOLT_CLICKHOUSE_URL"
        )
    logs.configure(settings.log_level, settings.log_format)
    # As a bad value of a setting.
    open_tls(settings, "up")
    with instance.hold(settings.data):
        data = str(Path(settings.data).resolve())
        lifecycle.run(lambda stop: _up(settings, data, demo, stop))


async def _up(settings: UpSettings, data: str, demo: bool, stop: asyncio.Event) -> None:
    warn_of_exposure(settings)
    _stop_leftover(data)
    fleet = _prepare(settings, data)
    try:
        await _serve(fleet, settings, demo, stop)
    finally:
        _log.info("stopping")
        await fleet.supervisor.stop()
        instance.remove_run(data)
        _log.info("stopped")


def _stop_leftover(data: str) -> None:
    """Stops the Redis server of a killed instance; its other children end themselves."""
    last = instance.last_run(data)
    if last and last.pids.redis and redis_server.stop_leftover(last.redis_url, last.pids.redis):
        _log.warning("left-over redis server stopped", child_pid=last.pids.redis)
    instance.remove_run(data)


def _prepare(settings: UpSettings, data: str) -> Fleet:
    edge_port, reports_port = pick_ports(settings.host, [settings.edge_port, settings.reports_port])
    ours = None
    if not settings.redis_url:
        maximum = settings.redis_max_memory_bytes
        ours = RedisServer(Path(data, "redis"), max_memory_bytes=maximum)
    redis_url = ours.url if ours else settings.redis_url
    # Not resolved: a renewal replaces the symlink.
    cert = str(Path(settings.tls_cert).absolute()) if settings.tls_cert else ""
    places = InstallationPlaces(data, settings.host, edge_port, reports_port, redis_url, cert)
    return Fleet(settings, places, ours)


def pick_ports(host: str, ports: Sequence[int]) -> list[int]:
    """Picks the ports, free ones for zeros, no two the same; PortTaken when one is taken."""
    for port in ports:
        server.check_port_free(host, port)
    if ports[0] and ports.count(ports[0]) > 1:
        raise server.PortTaken(f"port {ports[0]} is asked for twice: edge and reports need two")
    with ExitStack() as stack:
        socks = [stack.enter_context(server.listen(host, port)) for port in ports]
        return [sock.getsockname()[1] for sock in socks]


async def _serve(fleet: Fleet, settings: UpSettings, demo: bool, stop: asyncio.Event) -> None:
    fleet.start_redis()
    if not await _redis_answers(fleet, stop):
        return
    await _seal(fleet, settings)
    fleet.start_rest()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fleet.supervisor.watch(stop))
        banner = await _make_banner(fleet, settings, demo, stop)
        if await _ready(fleet, stop):
            click.echo(banner)


async def _seal(fleet: Fleet, settings: UpSettings) -> None:
    """Makes the key file, or checks it, before any child starts that would only be refused."""
    async with connect(fleet.places.redis_url) as redis:
        sealer = Sealer(settings.secret_key_path())
        prepared = await prepare_sealing(redis, sealer)
        prepared.log(sealer)
        if prepared.sealed and fleet.redis:
            # Its append-only file still holds what was plain.
            await rewrite_file(redis)


async def _redis_answers(fleet: Fleet, stop: asyncio.Event) -> bool:
    """Waits until Redis has loaded its data and answers; False on a stop."""
    warned_at = time.monotonic()
    while not stop.is_set():
        if redis_server.answers(fleet.places.redis_url):
            return True
        if any(child.ended() for child in fleet.redis):
            log = Path(fleet.places.data, "redis", "redis.log")
            raise RedisServerFailed(f"the Redis server does not start: see {log}")
        if time.monotonic() - warned_at > _WARN_EVERY_SECONDS:
            warned_at = time.monotonic()
            _log.warning("waiting for redis to answer")
        await asyncio.sleep(_POLL_SECONDS)
    return False


async def _ready(fleet: Fleet, stop: asyncio.Event) -> bool:
    """Waits until every child serves and both listeners are ready; False on a stop."""
    ports = (fleet.places.edge_port, fleet.places.reports_port)
    host, cert = server.reachable_host(fleet.places.host), fleet.places.tls_cert
    tls = local_client_context(cert) if cert else None
    while not stop.is_set():
        if fleet.announced() and all([await server.is_ready(host, port, tls) for port in ports]):
            return True
        await asyncio.sleep(_POLL_SECONDS)
    return False


async def _make_banner(fleet: Fleet, settings: UpSettings, demo: bool, stop: asyncio.Event) -> str:
    """Makes what is printed; a Redis that dies meanwhile is started again. Empty on a stop."""
    while not stop.is_set():
        try:
            return await _banner(fleet, settings, demo)
        except RedisError as error:
            _log.warning("redis does not answer", error=str(error))
            await asyncio.sleep(_RETRY_SECONDS)
    return ""


async def _banner(fleet: Fleet, settings: UpSettings, demo: bool) -> str:
    places = fleet.places
    edge_url = settings.public_url.rstrip("/") or places.edge_url
    reports_url = settings.reports_public_url.rstrip("/") or places.reports_url
    async with connect(places.redis_url) as redis:
        link = await owner_link(redis, reports_url)
        opened = await open_demo(redis, places.data) if demo else None
    on_terminal = sys.stdout.isatty()
    lines = f"""\
LinkJolt is running. Ctrl-C stops it.

Edge:       {edge_url}
Reports:    {places.reports_url}
Dashboard:  {reports_url}/
{show_link(link, places.data, on_terminal=on_terminal)}Data:       {places.data}
"""
    if opened is None:
        return lines
    order_id = f"order_{time.time_ns() // 1_000_000}"
    shown = show_key(opened, places.data, on_terminal=on_terminal)
    written = demo_lines(opened, shown, edge_url, places.reports_url, order_id, places.tls_cert)
    return f"{lines}\n{written}"
