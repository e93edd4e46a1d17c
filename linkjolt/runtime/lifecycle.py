"""Runs a process: its event loop, its signals, its end with its supervisor's."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import click
import structlog
import uvloop

from linkjolt import logs, settings
from linkjolt.runtime.descriptor_limits import ENOUGH_DESCRIPTORS, raise_descriptor_limit

# Set by the supervisor for its children.
SUPERVISOR_PID = "LINKJOLT_SUPERVISOR_PID"
READY_FD = "LINKJOLT_READY_FD"
_PARENT_CHECK_SECONDS = 0.5

_log = structlog.get_logger()


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Runs `main` to its end; its event is set by SIGTERM, SIGINT or the supervisor's death.

    Exits with status 1: with one line on stderr for a bad setting or a `click.ClickException`,
    with a logged traceback for any other exception.
    """
    try:
        shared = settings.load(settings.SharedSettings)
        logs.configure(shared.log_level, shared.log_format)
        descriptors = raise_descriptor_limit()
        # The supervisor has warned of what its children inherit.
        if SUPERVISOR_PID not in os.environ:
            _warn_of_unknown_variables()
            _warn_of_few_descriptors(descriptors)
        uvloop.run(_run(main))
    except settings.BadSetting as error:
        raise click.ClickException(str(error)) from None
    except click.ClickException:
        raise
    except Exception:
        _log.exception("process failed")
        sys.exit(1)


def exempt_objects_of_start() -> None:
    """Exempts what exists now from garbage collection, which would hold the loop for 0.1 s."""
    gc.collect()
    gc.freeze()


def _warn_of_unknown_variables() -> None:
    if unknown := settings.unknown_variables():
        _log.warning("unknown variables are ignored", variables=unknown)


def _warn_of_few_descriptors(descriptors: int) -> None:
    if descriptors < ENOUGH_DESCRIPTORS:
        _log.warning(
            "few descriptors are allowed",
            remedy="raise the hard limit: LimitNOFILE of systemd, ulimit -Hn of a shell",
            descriptors=descriptors,
        )


async def _run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watch = asyncio.create_task(_stop_with_supervisor(stop))
    try:
        await main(stop)
    finally:
        watch.cancel()


async def _stop_with_supervisor(stop: asyncio.Event) -> None:
    """Ends an orphan where no kernel does (`linkjolt.runtime.bound_children`)."""
    supervisor = os.environ.get(SUPERVISOR_PID)
    if supervisor is None:
        return
    while not stop.is_set():
        await asyncio.sleep(_PARENT_CHECK_SECONDS)
        if os.getppid() != int(supervisor):
            stop.set()


def announce_ready() -> None:
    """Announces to the supervisor, if one started this process, that it serves requests."""
    fd = os.environ.pop(READY_FD, None)
    if fd is not None:
        with suppress(BrokenPipeError), open(int(fd), "wb", buffering=0) as pipe:
            pipe.write(b"\n")
