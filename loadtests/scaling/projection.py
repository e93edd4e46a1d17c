"""Projects the hosts for a million clicks a second from the measurements of one machine."""

import math
from collections.abc import Sequence

import msgspec

from loadtests.scaling.point import ClickBytes, Cost


class ProjectionBasis(msgspec.Struct, frozen=True):
    """The measurements that the projection uses; `sync_ms` is a durable write of 4 KB."""

    cost: Cost
    click_bytes: ClickBytes
    sync_ms: float


class Assumptions(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs that are assumed, not measured."""

    clicks_per_second: int = 1_000_000
    busy_share: float = 0.5
    host_cores: int = 16
    replicas: int = 2
    packet_bytes: int = 66
    backlog_seconds: tuple[int, ...] = (60, 600, 3_600)


# Redis's own thread, and those that write its file.
_SHARD_CORES = 2


class Need(msgspec.Struct, frozen=True):
    """A resource that is needed, its amount, and the formula."""

    name: str
    figure: str
    derivation: str


def describe_assumptions(assumed: Assumptions) -> list[str]:
    """Describes each assumption in a sentence."""
    return [
        f"Every process is at most {assumed.busy_share:.0%} busy, to cover peaks and a lost host.",
        "A core there does what a core did here, and processes on many cores and hosts do not"
        " slow each other down; the tables above show how far that held on this machine.",
        "The aggregator is what its process spent in the main thread, ClickHouse all else: the"
        " engine ran embedded in it.",
        "Frames are as large as they were here. An edge at half load makes smaller ones, which"
        " costs Redis more; and a Redis that serves many edges makes several frames durable at"
        " once, which costs it less and is not counted.",
        "Each Redis shard has a disk of its own that is as fast as the one here.",
        f"ClickHouse keeps {assumed.replicas} copies and receives the bytes that the streams hold.",
        f"A host has {assumed.host_cores} cores; a Redis shard takes {_SHARD_CORES} of them.",
        "Redis has no replica; each one more is as many hosts, and as much network, again.",
        f"A click is a packet and an acknowledgement in each direction, {assumed.packet_bytes}"
        " bytes of Ethernet, IP and TCP head each, on a persistent connection; no TLS.",
    ]


def project_needs(basis: ProjectionBasis, assumed: Assumptions) -> list[Need]:
    """Projects all needs: cores, hosts, memory and network."""
    shards, shards_us = count_shards(basis, assumed)
    hosts = math.ceil(shards * _SHARD_CORES / assumed.host_cores)
    redis = Need("Redis shards, appendfsync always", f"{shards:,} on {_hosts(hosts)}", shards_us)
    found: list[Need] = []
    for what, us, copies in _processes(basis, assumed):
        cores = math.ceil(_cores(us * copies, assumed))
        on = math.ceil(cores / assumed.host_cores)
        hosts += on
        times = f" x {copies} copies" if copies > 1 else ""
        how = f"{_rate(assumed)} x {us:.1f} us{times} / {assumed.busy_share:g}"
        found.append(Need(f"{what} cores", f"{cores:,} on {_hosts(on)}", how))
    together = Need("all of these", _hosts(hosts), f"{assumed.host_cores} cores each")
    return [*found, redis, together, *_memory(basis, assumed, shards), *_network(basis, assumed)]


def _processes(basis: ProjectionBasis, assumed: Assumptions) -> list[tuple[str, float, int]]:
    """Lists processes: name, microseconds of CPU per click, copies."""
    cost = basis.cost
    return [
        ("edge", cost.edge_us, 1),
        ("aggregator", cost.aggregator_main_us, 1),
        ("ClickHouse", cost.aggregator_us - cost.aggregator_main_us, assumed.replicas),
    ]


def _rate(assumed: Assumptions) -> str:
    return f"{assumed.clicks_per_second:,}/s"


def _cores(us: float, assumed: Assumptions) -> float:
    return assumed.clicks_per_second * us / 1e6 / assumed.busy_share


def _hosts(count: int) -> str:
    return f"{count:,} host{'' if count == 1 else 's'}"


def count_shards(basis: ProjectionBasis, assumed: Assumptions) -> tuple[int, str]:
    cost = basis.cost
    sync_us = basis.sync_ms * 1_000 / cost.frame_events
    how = (
        f"{_rate(assumed)} x ({cost.redis_us:.1f} us of processor + {basis.sync_ms:.2f} ms of"
        f" fsync / {cost.frame_events:.0f} clicks a frame) / {assumed.busy_share:g}"
    )
    return math.ceil(_cores(cost.redis_us + sync_us, assumed)), how


def _memory(basis: ProjectionBasis, assumed: Assumptions, shards: int) -> list[Need]:
    each = basis.cost.waiting_bytes
    found: list[Need] = []
    for seconds in assumed.backlog_seconds:
        size = assumed.clicks_per_second * seconds * each
        how = f"{_rate(assumed)} x {seconds:,} s x {each:.0f} bytes"
        figure = f"{size / 1e9:,.0f} GB, {size / shards / 1e9:,.1f} GB a shard"
        found.append(Need(f"Redis memory for {seconds:,} s that wait", figure, how))
    return found


def _network(basis: ProjectionBasis, assumed: Assumptions) -> list[Need]:
    cost, heads = basis.cost, 2 * assumed.packet_bytes
    flows: Sequence[tuple[str, float, str]] = (
        (
            "network into the edges, from visitors",
            basis.click_bytes.request_bytes + heads,
            f"{basis.click_bytes.request_bytes} bytes of request + {heads} of heads",
        ),
        (
            "network out of the edges, to visitors",
            basis.click_bytes.answer_bytes + heads,
            f"{basis.click_bytes.answer_bytes} bytes of answer + {heads} of heads",
        ),
        (
            "network into Redis, from the edges",
            cost.redis_in_bytes,
            f"{cost.redis_in_bytes:.0f} bytes received",
        ),
        (
            "network out of Redis, to aggregators",
            cost.redis_out_bytes,
            f"{cost.redis_out_bytes:.0f} bytes sent",
        ),
        (
            "network into ClickHouse, copies among it",
            cost.redis_out_bytes * assumed.replicas,
            f"{cost.redis_out_bytes:.0f} bytes x {assumed.replicas} copies",
        ),
    )
    return [
        Need(
            what,
            f"{assumed.clicks_per_second * each * 8 / 1e9:.1f} Gbit/s",
            f"{_rate(assumed)} x ({how})",
        )
        for what, each, how in flows
    ]
