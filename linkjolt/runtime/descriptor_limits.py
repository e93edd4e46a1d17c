"""Raises this process's limit of descriptors, and derives the bound of connections from it."""

import resource
from contextlib import suppress

# Above it, memory bounds a process, not descriptors.
_CONNECTIONS_MAX = 16_384
# Linux refuses a limit above fs.nr_open, and macOS one above OPEN_MAX.
_LIMITS = (1 << 20, 10_240)
# Below it, a busy installation refuses connections.
ENOUGH_DESCRIPTORS = 4_096


def raise_descriptor_limit() -> int:
    """Raises the soft limit to the hard one, for this process and its children; returns it.

    The usual soft limit of 1,024 is for programs that call select(2): Go's runtime raises it, too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _LIMITS if hard == resource.RLIM_INFINITY else (hard, *_LIMITS)
    for limit in wanted:
        if soft < limit and (hard == resource.RLIM_INFINITY or limit <= hard):
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                return limit
    return soft


def connections_max(share: float) -> int:
    """Returns how many connections a server of this process may keep open at once.

    `share` is of the descriptors; the others are for files, databases and connections of its own.
    """
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return _CONNECTIONS_MAX
    return min(_CONNECTIONS_MAX, int(soft * share))
