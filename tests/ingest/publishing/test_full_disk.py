"""A disk that is full under the spool: refused, counted, and gone on with when there is room."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ingest.publishing.spool_files import take_one
from ingest.publishing.stream_producer import new_producer
from linkjolt.reasons import Rejected
from tests.ingest.producers import Lossy, drained, lines, outlet, send


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
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
    spool = take_one(small_disk, 1 << 30, new_producer)
    made = outlet(redis, spool)
    lossy = Lossy(made.publish, 1_000_000, executed=False)
    made.publish = lossy
    taken = 0
    with pytest.raises(Rejected):
        while taken < 10_000:
            await send(made, b"%d " % taken + b"x" * 1_000)
            taken += 1
    assert taken > 20
    ballast.unlink()
    lossy.lost = 0
    await drained(made)
    assert await send(made, b"after") == []
    stored = await lines(redis)
    assert [line.split()[0] for line in stored[:-1]] == [b"%d" % number for number in range(taken)]
    await spool.close()
