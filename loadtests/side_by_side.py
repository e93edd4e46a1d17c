"""Compares the CPU time of a click on two servers that share a core at the same time.

`python -m loadtests.side_by_side --against lua` compares this edge with nginx+Lua, `bare` with bare
nginx, and a folder with the edge of another checkout. Each server has its own load and Redis. A
disturbance hits both, so the ratio of their CPU times varies far less than between turns.
"""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click

from loadtests.bench import traffic, wrk
from loadtests.bench.debian import find_missing, install_line
from loadtests.bench.peers.linkjolt_peer import EDGE, edge_at
from loadtests.bench.peers.nginx import BARE, LUA
from loadtests.bench.peers.peer import Peer, ServedPeer, TurnEnvironment
from loadtests.bench.plan import BenchFailed, Cores, allowed_cores, pick_cores
from loadtests.bench.programs import cpu_seconds
from loadtests.bench.streams import open_redis

_NEEDS = {"lua": ("nginx", "nginx+Lua"), "bare": ("nginx",)}


def _find_peer(against: str) -> Peer:
    peers = {"lua": LUA, "bare": BARE}
    if against in peers:
        return peers[against]
    root = Path(against).resolve()
    if not (root / "ingest" / "edge.py").is_file():
        # Otherwise Python would find the installed edge and compare it with itself.
        raise click.BadParameter(f"{against} is not a checkout of LinkJolt", param_hint="--against")
    return edge_at(root, "other")


def _serve(
    stack: ExitStack, peer: Peer, folder: Path, cores: Cores, appendfsync: str
) -> ServedPeer:
    folder.mkdir()
    url, _ = stack.enter_context(open_redis(folder / "redis", cores.redis, appendfsync))
    return stack.enter_context(peer.serve(TurnEnvironment(folder, url, cores)))


def _microseconds_per_click(serving: ServedPeer, seconds: int, core: int, codes: str) -> float:
    before = cpu_seconds(serving.pid)
    summary = wrk.run(serving.port, seconds, core, traffic.CLICKS_SCRIPT, [codes])
    if problems := summary.problems():
        raise BenchFailed("; ".join(problems))
    return (cpu_seconds(serving.pid) - before) / summary.answered * 1e6


def compare(
    peers: Sequence[Peer], folder: Path, appendfsync: str, rounds: int, seconds: int
) -> list[tuple[float, ...]]:
    """Measures microseconds of CPU per click: a tuple per round, in the order of the peers."""
    cores, codes = pick_cores(allowed_cores()), str(traffic.write_codes(folder))
    with ExitStack() as stack, ThreadPoolExecutor(len(peers)) as threads:
        served = [
            _serve(stack, peer, folder / str(number), cores, appendfsync)
            for number, peer in enumerate(peers)
        ]

        def measure(serving: ServedPeer) -> float:
            return _microseconds_per_click(serving, seconds, cores.load, codes)

        return [tuple(threads.map(measure, served)) for _ in range(rounds)]


@click.command()
@click.option("--against", required=True, help="lua, bare, or the folder of another checkout.")
@click.option("--appendfsync", default="always", type=click.Choice(["always", "everysec"]))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=3, show_default=True, type=click.IntRange(1))
def main(against: str, appendfsync: str, rounds: int, seconds: int) -> None:
    """Compares the CPU time of a click on two servers running at the same time."""
    peer = _find_peer(against)
    if missing_tools := find_missing({"wrk", *_NEEDS.get(against, ())}):
        raise click.ClickException(f"missing: {install_line(missing_tools)}")
    with tempfile.TemporaryDirectory(prefix="side-by-side-", dir="/var/tmp") as folder:
        try:
            costs = compare([EDGE, peer], Path(folder), appendfsync, rounds, seconds)
        except BenchFailed as error:
            raise click.ClickException(str(error)) from None
    for ours, theirs in costs:
        click.echo(f"LinkJolt {ours:.1f} us, {peer.name} {theirs:.1f} us: {ours / theirs:.2f}")
    click.echo(f"median ratio {median(ours / theirs for ours, theirs in costs):.3f}")


if __name__ == "__main__":
    main()
