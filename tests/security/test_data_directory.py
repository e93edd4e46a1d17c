"""Nobody else on the machine can read the data directory, whatever its mode was."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import click
import httpx2
import pytest
from structlog.testing import capture_logs

from linkjolt.runtime import data_directory, instance
from linkjolt.runtime.data_directory import make_private
from tests.system import conftest
from tests.system.conftest import Instance


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("before", [0o755, 0o777, 0o750, 0o701, 0o704, 0o720, 0o1777])
def test_a_directory_open_to_others_is_tightened_with_a_warning(
    tmp_path: Path, before: int
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(before)
    for warnings in (1, 0):
        with capture_logs() as lines, instance.hold(str(data)):
            assert mode(data) == 0o700
        assert [line["log_level"] for line in lines] == ["warning"] * warnings
        assert all(line["path"] == str(data) for line in lines)
        assert all(line["mode_before"] == f"{before:04o}" for line in lines)


def test_a_private_directory_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with capture_logs() as lines:
        make_private(str(tmp_path))
    assert (mode(tmp_path), lines) == (0o500, [])


def test_a_new_directory_is_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private(str(tmp_path / "data"))
    finally:
        os.umask(before)
    assert mode(tmp_path / "data") == 0o700


@pytest.mark.parametrize("name", ["redis", "clickhouse", "spool", "edge", "metrics"])
def test_a_folder_that_is_linked_to_another_disk_is_tightened(tmp_path: Path, name: str) -> None:
    data, disk = tmp_path / "data", tmp_path / "disk"
    data.mkdir(mode=0o700)
    disk.mkdir()
    disk.chmod(0o755)
    (data / name).symlink_to(disk)
    make_private(str(data))
    assert mode(disk) == 0o700


def test_a_linked_data_directory_is_tightened_where_it_is(tmp_path: Path) -> None:
    disk, data = tmp_path / "disk", tmp_path / "data"
    disk.mkdir()
    disk.chmod(0o755)
    data.symlink_to(disk)
    make_private(str(data))
    assert mode(disk) == 0o700


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Returns a directory of another user: one of root's, unless this is root."""
    if os.geteuid() != 0:
        return Path("/usr")
    os.chown(tmp_path, 65_534, -1)
    return tmp_path


def test_another_users_directory_is_refused_and_left_alone(foreign: Path) -> None:
    before = foreign.stat(), sorted(foreign.iterdir())
    held = instance.hold(str(foreign))
    with pytest.raises(click.ClickException, match=f"{foreign} belongs to another user"), held:
        pass
    after = foreign.stat()
    assert (after.st_mode, after.st_uid) == (before[0].st_mode, before[0].st_uid)
    assert sorted(foreign.iterdir()) == before[1]


def test_a_directory_whose_mode_cannot_be_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(click.ClickException, match=r"\(mode 0755\).*Operation not permitted"):
        make_private(str(tmp_path))


def test_a_file_system_without_permissions_is_used_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    # As on FAT: all files have the mode of the mount.
    as_on_fat = os.stat_result((stat.S_IFREG | 0o777, *[0] * 9))

    def fstat(fd: int) -> os.stat_result:
        return as_on_fat

    monkeypatch.setattr(data_directory.os, "fstat", fstat)
    with capture_logs() as lines:
        make_private(str(tmp_path))
    assert len(lines) == 1
    assert lines[0]["event"].startswith("the file system of the data directory has no permissions")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Instance]:
    """Starts an instance on a directory that others may read, with settings to be warned of."""
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    umask = os.umask(0o022)
    try:
        running = conftest.start(data, LINKJOLT_TRUSTED_PROXIES="127.0.0.1,0.0.0.0/0")
    finally:
        os.umask(umask)
    yield running
    if running.process.poll() is None:
        running.stop()


def test_all_files_of_an_instance_are_private_and_what_it_exposes_is_said_once(
    opened: Instance,
) -> None:
    agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"}
    assert httpx2.get(opened.demo("link"), headers=agent).status_code == 302
    conftest.wait_for("the click is stored", lambda: opened.report()["totals"]["clicks"] == 1)
    assert mode(opened.data) == 0o700
    files = [path for path in opened.data.rglob("*") if not path.is_symlink()]
    assert len(files) > 100
    open_ones = [path for path in files if path.exists() and mode(path) & 0o077]
    assert open_ones == []
    warnings = [json.loads(line) for line in opened.log.splitlines() if '"warning"' in line]
    said = [line["event"] for line in warnings]
    assert len([event for event in said if "data directory was open" in event]) == 1
    assert len([event for event in said if "LINKJOLT_TRUSTED_PROXIES has 0.0.0.0/0" in event]) == 1
    saved = opened.data.parent / "report.csv"
    assert opened.linkjolt("report", "--csv", str(saved)).returncode == 0
    assert mode(saved) == 0o600
