"""An error of the machine sets no spool aside, locks none for ever and ends no loop."""

import asyncio
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from linkjolt.runtime.background import outlive_os_errors
from tests.waiting import wait_until

# Opens the spools of a folder with as many free descriptors as given, then with enough.
_OPEN = """
import os, resource, sys
from contextlib import suppress
from pathlib import Path
from ingest.publishing.spool_files import open_abandoned_spools

folder, free = Path(sys.argv[1]), int(sys.argv[2])
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
highest = max(map(int, os.listdir("/dev/fd")))
for number in range(3, highest):
    with suppress(OSError):
        os.fstat(number)
        continue
    os.dup2(0, number)
resource.setrlimit(resource.RLIMIT_NOFILE, (highest + free, limits[1]))
opened = []
try:
    opened = list(open_abandoned_spools(folder, 1 << 20, lambda: "new"))
    print("opened", len(opened))
except OSError as error:
    print("refused")
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
del opened
print(len(list(open_abandoned_spools(folder, 1 << 20, lambda: "new"))))
"""


def _make_spools(folder: Path, count: int) -> None:
    script = (
        "import sys; from pathlib import Path; from itertools import count\n"
        "from ingest.publishing.spool_files import open_spool\n"
        "folder = Path(sys.argv[1])\n"
        f"kept = [open_spool(folder, 1 << 20, lambda n=n: f'p{{n}}') for n in range({count})]\n"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)


@pytest.mark.parametrize("free", range(8))
def test_without_descriptors_no_spool_is_set_aside(tmp_path: Path, free: int) -> None:
    _make_spools(tmp_path, 1)
    result = subprocess.run(
        [sys.executable, "-c", _OPEN, str(tmp_path), str(free)],
        capture_output=True,
        text=True,
        check=False,
    )
    first, then = result.stdout.split("\n")[:2]
    assert first in ("refused", "opened 1"), result.stderr
    assert not list(tmp_path.glob("*.bad"))
    if first == "refused":
        assert then == "1"


async def test_a_loop_begins_anew_after_an_error_of_the_machine() -> None:
    begun = 0

    async def loop() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        await asyncio.Event().wait()

    running = asyncio.create_task(outlive_os_errors(loop))
    await wait_until(lambda: begun == 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_fault_of_ours_ends_a_loop() -> None:
    async def loop() -> None:
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        await outlive_os_errors(loop)
