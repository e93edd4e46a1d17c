"""Prepares sealing as a process that starts does; `python -m` this, in LINKJOLT_DATA."""

import asyncio

from linkjolt.registry.sealed.start import prepare_sealing
from linkjolt.settings import SharedSettings, load
from linkjolt.storage.redis import connect
from linkjolt.storage.sealing import Sealer


async def _main() -> None:
    settings = load(SharedSettings)
    async with connect(settings.redis_url) as redis:
        print((await prepare_sealing(redis, Sealer(settings.secret_key_path()))).sealed)


if __name__ == "__main__":
    asyncio.run(_main())
