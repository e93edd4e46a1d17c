"""A data directory has one holder, and the record of its processes is private."""

import os
import stat
from pathlib import Path

import click
import pytest

from linkjolt.runtime import instance
from linkjolt.runtime.instance import InstanceBusy, Pids, Run


@pytest.fixture
def run() -> Run:
    pids = Pids(supervisor=os.getpid(), redis=2, warehouse=3, edge=[4, 5])
    return Run("http://h:1", "http://h:2", "redis://:secret@h:3/0", "/control.sock", pids)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_held_directory_is_refused_naming_its_holder(tmp_path: Path) -> None:
    message = f"{tmp_path} is in use by process {os.getpid()}"
    again = instance.hold(str(tmp_path))
    with instance.hold(str(tmp_path)), pytest.raises(InstanceBusy) as refused, again:
        pass
    assert refused.value.message == message


def test_a_directory_can_be_held_again_after_it_was_let_go(tmp_path: Path) -> None:
    data = str(tmp_path / "new" / "data")
    for _ in range(2):
        with instance.hold(data):
            assert instance.read_run(data) is None
    assert mode(Path(data)) == 0o700


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    held = instance.hold(str(tmp_path / "file" / "data"))
    with pytest.raises(click.ClickException, match=r"cannot use .*: Not a directory"), held:
        pass


def test_run_json_can_be_read_by_its_owner_only(tmp_path: Path, run: Run) -> None:
    instance.write_run(str(tmp_path), run)
    instance.write_run(str(tmp_path), run)
    assert mode(tmp_path / "run.json") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_what_runs_is_read_while_the_instance_holds_its_directory(tmp_path: Path, run: Run) -> None:
    data = str(tmp_path)
    with instance.hold(data):
        instance.write_run(data, run)
        assert instance.read_run(data) == run
        assert instance.find_redis_url(data, "") == run.redis_url


def test_a_run_json_left_by_a_killed_instance_is_not_believed(tmp_path: Path, run: Run) -> None:
    data = str(tmp_path)
    instance.write_run(data, run)
    assert instance.read_run(data) is None
    assert instance.last_run(data) == run


def test_a_given_redis_url_beats_the_running_instance(tmp_path: Path, run: Run) -> None:
    with instance.hold(str(tmp_path)):
        instance.write_run(str(tmp_path), run)
        assert instance.find_redis_url(str(tmp_path), "redis://other") == "redis://other"


def test_that_nothing_runs_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException) as refused:
        instance.find_redis_url(str(tmp_path), "")
    assert refused.value.message == (
        f"nothing is running under {tmp_path}: start `linkjolt up` or set LINKJOLT_REDIS_URL"
    )


def test_the_control_socket_lies_in_a_directory_whose_path_is_short() -> None:
    assert instance.control_path("/srv/data") == "/srv/data/control.sock"


def test_a_long_directory_gets_a_short_and_private_place_for_its_control_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    data = tmp_path / ("d" * 100)
    path = instance.control_path(str(data))
    assert len(path) < 60
    assert mode(Path(path).parent) == 0o700
    assert instance.control_path(str(data)) == path
    assert instance.control_path(str(data) + "2") != path
    for used in (data, Path(str(data) + "2")):
        Path(instance.control_path(str(used))).parent.rmdir()


def test_a_place_that_others_can_enter_is_refused_for_the_control_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = str(tmp_path / ("d" * 100))
    Path(instance.control_path(data)).parent.chmod(0o755)
    with pytest.raises(click.ClickException, match="must belong to this user alone"):
        instance.control_path(data)
