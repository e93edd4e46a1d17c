"""Binds child processes to their parent: they end with it, even when SIGKILL ends it.

Run as a script it is the launcher: it binds itself to its parent and becomes the command.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def bound(command: Sequence[str]) -> list[str]:
    """Wraps a command so that on Linux the kernel ends it with this process.

    Elsewhere it is the command itself. The child has one process id throughout.
    """
    if sys.platform != "linux":
        return list(command)
    # A launcher: a `preexec_fn` forks, which a process with threads (or chDB) must not do.
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _launch(parent: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    _launch(int(sys.argv[1]), sys.argv[2:])
