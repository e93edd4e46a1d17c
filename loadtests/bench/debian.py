"""Finds the tools that the benches need beside Python, and installs them on Debian."""

import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from loadtests.bench.peers.nginx import MODULES, find_nginx

_POLICY = Path("/usr/sbin/policy-rc.d")
_LUA_FOLDERS = (Path("/usr/share/lua/5.1"), Path("/usr/local/share/lua/5.1"))
_INSTALL_SECONDS = 300


class Tool(NamedTuple):
    """A tool that a bench needs, and the Debian packages that contain it."""

    name: str
    packages: tuple[str, ...]
    present: Callable[[], bool]


def _has_lua() -> bool:
    clients = [folder / f"{name}/redis.lua" for folder in _LUA_FOLDERS for name in _CLIENTS]
    cjson = list(Path("/usr/lib").glob("*/lua/5.1/cjson.so"))
    module = MODULES / "ngx_http_lua_module.so"
    return module.exists() and bool(cjson) and any(client.exists() for client in clients)


# Debian's package of lua-resty-redis installs the module under another name.
_CLIENTS = ("resty", "nginx")
TOOLS = {
    tool.name: tool
    for tool in (
        Tool("wrk", ("wrk",), lambda: shutil.which("wrk") is not None),
        Tool("nginx", ("nginx",), lambda: find_nginx() is not None),
        Tool("nginx+Lua", ("libnginx-mod-http-lua", "lua-nginx-redis", "lua-cjson"), _has_lua),
    )
}


def find_missing(names: Iterable[str], tools: Mapping[str, Tool] = TOOLS) -> list[Tool]:
    """Finds the named tools that are not on this machine."""
    return [tools[name] for name in sorted(names) if not tools[name].present()]


def install_line(tools: Iterable[Tool]) -> str:
    """Formats the command that installs the tools."""
    packages = [package for tool in tools for package in tool.packages]
    return "apt-get install -y --no-install-recommends " + " ".join(packages)


def install(tools: list[Tool]) -> str | None:
    """Installs tools; returns None on success, otherwise the reason of the failure."""
    if not tools:
        return None
    if shutil.which("apt-get") is None:
        return "there is no apt-get here"
    if os.geteuid() != 0:
        return "installing needs root"
    with _services_disabled():
        for command in (["apt-get", "update", "-q"], install_line(tools).split()):
            ran = subprocess.run(
                command,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
                check=False,
            )
            if ran.returncode != 0:
                return f"{' '.join(command[:2])} failed: {ran.stderr.strip()[-300:]}"
    still_missing = find_missing(tool.name for tool in tools)
    return (
        f"still missing: {', '.join(tool.name for tool in still_missing)}"
        if still_missing
        else None
    )


@contextmanager
def _services_disabled() -> Generator[None]:
    """Keeps Debian from starting installed services: nginx would listen publicly on port 80."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
