"""A full disk under the spool refuses frames, and loses none that were accepted."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ingest.publishing.spool_files import open_spool
from ingest.publishing.stream_producer import new_producer
from linkjolt.reasons import Rejected
from tests.ingest.producers import Lossy, drained, lines, make_producer, send


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mounts a file system of 2 MB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


async def test_a_full_disk_refuses_and_loses_nothing_that_was_taken(
    redis: Redis, small_disk: Path
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 700_000)
    spool = open_spool(small_disk, 1 << 30, new_producer)
    producer = make_producer(redis, spool)
    lossy = Lossy(producer.publish, 1_000_000, executed=False)
    producer.publish = lossy
    taken = 0
    with pytest.raises(Rejected):
        while taken < 10_000:
            await send(producer, b"%d " % taken + b"x" * 1_000)
            taken += 1
    assert taken > 20
    ballast.unlink()
    lossy.lost = 0
    await drained(producer)
    assert await send(producer, b"after") == []
    stored = await lines(redis)
    assert [line.split()[0] for line in stored[:-1]] == [b"%d" % number for number in range(taken)]
    await spool.close()
