"""Serves nginx as a peer: bare with a fixed redirect, or with Lua and an XADD per request."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from linkjolt.click_ids import ALPHABET
from linkjolt.runtime.redis_server import free_port
from loadtests.bench import traffic
from loadtests.bench.peers.peer import Peer, ServedPeer, TurnEnvironment
from loadtests.bench.programs import running_program, wait_listening

MODULES = Path("/usr/lib/nginx/modules")
_CLICK = Path(__file__).with_name("click.lua")
STREAM = "bench:lua"
# One process: with a master beside the worker, a killed bench would leave the worker running.
_CONFIG = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
{modules}
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {setup}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{ {answer} }}
  }}
}}
"""
_SETUP = """\
init_by_lua_block {{
    local found, redis = pcall(require, "resty.redis")
    bench = {{
      redis = found and redis or require("nginx.redis"),
      encode = require("cjson").encode,
      port = {port},
      password = "{password}",
      stream = "{stream}",
      destination = "{destination}",
      account = {account}, campaign = {campaign}, affiliate = {affiliate},
      links = {{ {links} }},
      pairs = {{}},
    }}
    local alphabet = "{alphabet}"
    for high = 1, 32 do
      for low = 1, 32 do
        local pair = string.sub(alphabet, high, high) .. string.sub(alphabet, low, low)
        bench.pairs[#bench.pairs + 1] = pair
      end
    end
  }}
  init_worker_by_lua_block {{ math.randomseed(ngx.now() * 1000) }}"""


def bare_config(folder: Path, port: int) -> str:
    """Builds a configuration that only redirects: no event, no look-up."""
    answer = f'return 302 "{traffic.DESTINATION}";'
    return _CONFIG.format(folder=folder, port=port, modules="", setup="", answer=answer)


def lua_config(folder: Path, port: int, redis_url: str) -> str:
    """Builds a configuration with the links in memory and persistent connections to Redis."""
    redis = urlsplit(redis_url)
    names = ("ndk_http_module", "ngx_http_lua_module")
    setup = _SETUP.format(
        port=redis.port,
        password=redis.password,
        stream=STREAM,
        destination=traffic.DESTINATION,
        account=traffic.ACCOUNT,
        campaign=traffic.CAMPAIGN,
        affiliate=traffic.AFFILIATE,
        links=", ".join(f'["{code}"] = {n}' for n, code in enumerate(traffic.CODES, 1)),
        alphabet=ALPHABET,
    )
    return _CONFIG.format(
        folder=folder,
        port=port,
        modules="\n".join(f"load_module {MODULES / name}.so;" for name in names),
        setup=setup,
        answer=f"content_by_lua_file {_CLICK};",
    )


@contextmanager
def _serve(environment: TurnEnvironment, port: int, config: str) -> Generator[ServedPeer]:
    path = environment.folder / "nginx.conf"
    path.touch(mode=0o600)
    path.write_text(config)
    log = environment.folder / "nginx.out"
    binary = find_nginx() or "nginx"
    command = [binary, "-p", str(environment.folder), "-e", str(log), "-c", str(path)]
    with running_program(command, environment.cores.worker, log, {}) as child:
        wait_listening(port, child, log)
        yield ServedPeer(port, child.pid)


@contextmanager
def _serve_bare(environment: TurnEnvironment) -> Generator[ServedPeer]:
    port = free_port()
    with _serve(environment, port, bare_config(environment.folder, port)) as serving:
        yield serving


@contextmanager
def _serve_lua(environment: TurnEnvironment) -> Generator[ServedPeer]:
    port = free_port()
    with _serve(
        environment, port, lua_config(environment.folder, port, environment.redis_url)
    ) as serving:
        yield serving


def find_nginx() -> str | None:
    """Finds nginx, also in Debian's /usr/sbin, which is not on every PATH."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


BARE = Peer("bare nginx", "", _serve_bare)
LUA = Peer("nginx+Lua", STREAM, _serve_lua)
