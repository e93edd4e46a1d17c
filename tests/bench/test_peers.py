"""Peers are configured alike, their tools have packages, and a bench without them is skipped."""

from pathlib import Path

from loadtests.bench import debian, traffic
from loadtests.bench.__main__ import BENCHES, measure
from loadtests.bench.peers.nginx import STREAM, bare_config, lua_config
from loadtests.bench.plan import Bench, BenchFailed, BenchPlan, Cores
from loadtests.bench.rows import BenchRow

PLAN = BenchPlan(folder=Path("/nowhere"), cores=Cores(0, 1, 1))


def test_both_nginx_configurations_run_one_process_on_loopback() -> None:
    for text in (
        bare_config(Path("/f"), 8123),
        lua_config(Path("/f"), 8123, "redis://:secret@127.0.0.1:6379/0"),
    ):
        assert "master_process off;" in text
        assert "listen 127.0.0.1:8123 " in text
        assert text.count("{") == text.count("}")


def test_bare_nginx_does_nothing_but_redirect() -> None:
    text = bare_config(Path("/f"), 8123)
    assert f'location / {{ return 302 "{traffic.DESTINATION}"; }}' in text
    assert "lua" not in text


def test_the_lua_peer_knows_every_link_and_where_redis_is() -> None:
    text = lua_config(Path("/f"), 8123, "redis://:secret@127.0.0.1:6379/0")
    assert all(f'["{code}"] = {n}' in text for n, code in enumerate(traffic.CODES, 1))
    assert "port = 6379," in text
    assert 'password = "secret",' in text
    assert f'stream = "{STREAM}",' in text


def test_every_tool_that_a_bench_needs_has_packages() -> None:
    needed = {need for bench in BENCHES for need in bench.needs}
    assert needed <= debian.TOOLS.keys()
    line = debian.install_line(debian.TOOLS.values())
    assert line.startswith("apt-get install -y ")
    assert set(line.split()) >= {"wrk", "nginx", "libnginx-mod-http-lua", "lua-nginx-redis"}


def test_every_bench_has_a_name_of_its_own() -> None:
    names = [bench.name for bench in BENCHES]
    assert len(set(names)) == len(names)


def gives_up(_: BenchPlan) -> list[BenchRow]:
    raise BenchFailed("nothing listens on port 1")


def test_a_bench_that_cannot_go_on_is_a_failed_row_and_the_others_go_on() -> None:
    (row,) = measure(Bench("x", "an example", frozenset(), gives_up), PLAN)
    assert (row.name, row.verdict) == ("an example", "fail")
    assert row.detail == ("nothing listens on port 1",)


def test_a_bench_whose_tool_is_missing_is_skipped_with_what_to_install() -> None:
    absent = debian.Tool("absent", ("absent-package",), lambda: False)
    (row,) = measure(
        Bench("x", "an example", frozenset({"absent"}), gives_up), PLAN, {"absent": absent}
    )
    assert row.verdict == "skipped"
    assert row.detail[0].startswith("absent missing: apt-get install -y ")
    assert row.detail[0].endswith(" absent-package")
