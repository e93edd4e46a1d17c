"""An edge's word about itself, every second, for the balance."""

import asyncio

from ingest.edge import Edge
from ingest.publishing.spools import Spools
from linkjolt.balance.edge_status import tell
from linkjolt.storage.redis import RedisError

_EVERY_SECONDS = 1.0


async def keep_telling(edge: Edge, worker: int, spools: Spools) -> None:
    """Tells for ever; what could not be told is told later."""
    task = asyncio.current_task()
    while not (task and task.cancelling()):
        shed = edge.clicks.shed
        try:
            await tell(edge.redis, worker, spools.waiting, shed)
            edge.clicks.shed -= shed
        except RedisError:
            # Redis away shows in the log elsewhere.
            pass
        await asyncio.sleep(_EVERY_SECONDS)
