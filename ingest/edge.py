"""Holds the parts of one running edge worker, and reports its status."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis

from ingest.conversions.customer_claims import CustomerClaims
from ingest.forged_clicks import ForgedClicks
from ingest.publishing.publishers import ClickPublisher, ConversionPublisher
from ingest.publishing.spools import Spools
from ingest.visitor_fields import ProxyHeaders, VisitorReader
from linkjolt.auth.rate_limits import RateLimits
from linkjolt.auth.refused_authentications import RefusedAuthentications
from linkjolt.balance.edge_status import publish_edge_status
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.clicks.addresses import parse_networks
from linkjolt.conversions.early.adjustments import EarlyAdjustments
from linkjolt.directory.directory import Directory
from linkjolt.registry.keyring import Keyring
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.redis import RedisError
from linkjolt.storage.sealing import Sealer

_STATUS_SECONDS = 1.0


@dataclass
class Edge:
    """The parts that requests need; once `stop` is set /readyz fails.

    `fast_redis` times out as soon as a visitor must not wait longer, `redis` later.
    """

    settings: Settings
    redis: Redis
    fast_redis: Redis
    directory: Directory
    sealer: Sealer
    keyring: Keyring
    click_ids: ClickIdGenerator
    click_publisher: ClickPublisher
    conversion_publishers: Sequence[ConversionPublisher]
    spool_folder: Path
    stop: asyncio.Event
    visitor_reader: VisitorReader = field(init=False)
    early: EarlyAdjustments = field(init=False)
    customer_claims: CustomerClaims = field(init=False)
    rate_limits: RateLimits = field(init=False)
    refusals: RefusedAuthentications = field(init=False)
    forged_clicks: ForgedClicks = field(default_factory=ForgedClicks)

    def __post_init__(self) -> None:
        self.customer_claims = CustomerClaims(self.fast_redis, self.settings)
        settings = self.settings
        self.rate_limits = RateLimits(self.fast_redis, settings)
        self.refusals = RefusedAuthentications(self.redis, self.directory)
        self.visitor_reader = VisitorReader(
            parse_networks(settings.trusted_proxies),
            ProxyHeaders(
                settings.client_ip_header, settings.country_header, settings.region_header
            ),
        )
        self.early = EarlyAdjustments(self.redis, settings.shards, settings.conversion_state_days)

    async def wait_idle(self) -> None:
        """Waits until every accepted event is published or spooled."""
        await self.click_publisher.group_commit.wait_idle()
        for publisher in self.conversion_publishers:
            await publisher.group_commit.wait_idle()


async def report_status(edge: Edge, worker: int, spools: Spools) -> None:
    """Publishes every second, for ever, how many events are spooled and clicks newly shed."""
    task = asyncio.current_task()
    while not (task and task.cancelling()):
        shed = edge.click_publisher.unreported_shed
        try:
            await publish_edge_status(edge.redis, worker, spools.spooled_events, shed)
            edge.click_publisher.unreported_shed -= shed
        except RedisError:
            # The next report carries it; the outage itself is logged elsewhere.
            pass
        await asyncio.sleep(_STATUS_SECONDS)
