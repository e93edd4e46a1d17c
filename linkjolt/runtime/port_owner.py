"""Names the process that listens on a port, where the kernel tells it (Linux)."""

import os
from contextlib import suppress
from pathlib import Path

_LISTEN = "0A"


def listener(port: int) -> str:
    """Describes the process that listens on a TCP port: `process 42 (nginx)`.

    `another process` where the kernel does not say, or the process is another user's.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(os.readlink(fd) in sockets for fd in (folder / "fd").iterdir()):
                return f"process {folder.name} ({(folder / 'comm').read_text().strip()})"
    return "another process"


def _listening_inodes(port: int) -> set[str]:
    """Reads the inodes of the sockets that listen on a port (proc_net_tcp.txt of the kernel)."""
    inodes: set[str] = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes
