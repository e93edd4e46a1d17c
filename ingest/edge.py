"""What one edge worker holds while it runs."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from ingest.publish import ClickPublisher, ConversionPublisher
from linkjolt.addresses import Network
from linkjolt.clickid import ClickIds
from linkjolt.directory import Directory
from linkjolt.keyring import Keyring
from linkjolt.settings import Edge as Settings


@dataclass
class Edge:
    """The parts that requests need; once `stop` is set /readyz fails."""

    settings: Settings
    redis: Redis
    directory: Directory
    keyring: Keyring
    click_ids: ClickIds
    clicks: ClickPublisher
    conversions: Sequence[ConversionPublisher]
    trusted_proxies: tuple[Network, ...]
    country_header: bytes
    stop: asyncio.Event
