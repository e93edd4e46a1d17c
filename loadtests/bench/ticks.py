"""Ticks an event loop steadily, finer than its own timers, which round to milliseconds."""

import asyncio
import ctypes
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager

_CLOCK_MONOTONIC = 1


class _ITimerSpec(ctypes.Structure):
    """Linux's `struct itimerspec`."""

    _fields_ = (
        ("every_seconds", ctypes.c_long),
        ("every_nanoseconds", ctypes.c_long),
        ("first_seconds", ctypes.c_long),
        ("first_nanoseconds", ctypes.c_long),
    )


@contextmanager
def ticking(every_seconds: float, tick: Callable[[], None]) -> Generator[None]:
    """Calls `tick` at each multiple of an interval below a second; missed ticks become one.

    Linux only (timerfd_create(2), which Python's own library has from 3.13 on).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    loop = asyncio.get_running_loop()

    def ready() -> None:
        os.read(fd, 8)
        tick()

    try:
        nanoseconds = int(every_seconds * 1e9)
        interval = _ITimerSpec(0, nanoseconds, 0, nanoseconds)
        if libc.timerfd_settime(fd, 0, ctypes.byref(interval), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        loop.add_reader(fd, ready)
        yield
        loop.remove_reader(fd)
    finally:
        os.close(fd)
