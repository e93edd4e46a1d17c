"""What one edge worker holds while it runs."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis

from ingest.publishing.publishers import ClickPublisher, ConversionPublisher
from ingest.visitor_fields import Visits
from linkjolt.click_ids import ClickIds
from linkjolt.clicks.addresses import parse_networks
from linkjolt.directory.directory import Directory
from linkjolt.registry.keyring import Keyring
from linkjolt.settings import Edge as Settings


@dataclass
class Edge:
    """The parts that requests need; once `stop` is set /readyz fails.

    `fast` waits for Redis no longer than a visitor may be kept, `redis` as long as is usual.
    """

    settings: Settings
    redis: Redis
    fast: Redis
    directory: Directory
    keyring: Keyring
    click_ids: ClickIds
    clicks: ClickPublisher
    conversions: Sequence[ConversionPublisher]
    spool_folder: Path
    stop: asyncio.Event
    visits: Visits = field(init=False)

    def __post_init__(self) -> None:
        proxies = parse_networks(self.settings.trusted_proxies)
        of = self.settings
        self.visits = Visits(of.country_header.lower(), proxies, of.region_header.lower())

    async def idle(self) -> None:
        """Returns when every event that was accepted is published or spooled."""
        await self.clicks.lane.idle()
        for publisher in self.conversions:
            await publisher.lane.idle()
