"""Sealing: a secret opens at its place alone, by a key file that nobody else can read."""

import base64
import os
import threading
from pathlib import Path

import pytest

from linkjolt.storage.key_file import (
    KeyFileError,
    SecretKey,
    create_key_file,
    make_key,
    read_key_file,
    replace_key_file,
)
from linkjolt.storage.sealing import Place, Sealer, SealError, UnknownKey, is_sealed, sealed_by

_PLACE = Place("lj:{r}:webhook:7", "secret")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secret.key"
    assert create_key_file(path)
    return path


def _keys(path: Path) -> tuple[SecretKey, ...]:
    keys = read_key_file(path)
    assert keys is not None
    return keys


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def test_sealed_secret_opens_and_shows_nothing_of_itself(path: Path) -> None:
    sealer = Sealer(path)
    sealed = sealer.seal(_PLACE, b"whsec_1")

    assert sealer.open(_PLACE, sealed) == b"whsec_1" == Sealer(path).open(_PLACE, sealed.encode())
    assert is_sealed(sealed) and sealed_by(f'{{"a": "{sealed}"}}') == {sealer.keys[0].id}
    assert "whsec" not in sealed and base64.b64encode(b"whsec_1").decode()[:6] not in sealed
    assert sealer.seal(_PLACE, b"whsec_1") != sealed


@pytest.mark.parametrize(
    "place", [Place("lj:{r}:webhook:8", "secret"), Place("lj:{r}:webhook:7", "other")]
)
def test_sealed_secret_opens_at_no_other_place(path: Path, place: Place) -> None:
    sealer = Sealer(path)
    sealed = sealer.seal(_PLACE, b"x")

    with pytest.raises(SealError):
        sealer.open(place, sealed)
    with pytest.raises(SealError):
        sealer.open(place, sealed.replace(f".{_PLACE.name}.", f".{place.name}."))


def test_every_changed_character_is_noticed(path: Path) -> None:
    sealer = Sealer(path)
    sealed = sealer.seal(_PLACE, b"some secret")

    for index, character in enumerate(sealed[:-1]):
        other = "A" if character != "A" else "B"
        with pytest.raises(SealError):
            sealer.open(_PLACE, sealed[:index] + other + sealed[index + 1 :])
    for text in ("", "sealed1.", sealed[:40], "whsec_plain", sealed + "é"):
        with pytest.raises(SealError):
            sealer.open(_PLACE, text)


def test_name_with_a_separator_is_refused(path: Path) -> None:
    for name in ("", "a.b", "a b", "é"):
        with pytest.raises(ValueError):
            Sealer(path).seal(Place("lj:{r}:webhook:7", name), b"x")


def test_first_key_seals_and_all_open(path: Path) -> None:
    old, new = *_keys(path), make_key()
    before = Sealer(path).seal(_PLACE, b"x")
    replace_key_file(path, [new, old])

    sealer = Sealer(path)
    assert sealed_by(sealer.seal(_PLACE, b"y")) == {new.id}
    assert sealer.open(_PLACE, before) == b"x"
    replace_key_file(path, [new])
    with pytest.raises(UnknownKey, match=old.id):
        Sealer(path).open(_PLACE, before)


def test_waiting_key_opens_and_seals_only_where_the_others_are_retired(path: Path) -> None:
    old, new = *_keys(path), make_key(waits=True)
    replace_key_file(path, [old, new])
    sealer = Sealer(path)

    assert sealed_by(sealer.seal(_PLACE, b"x")) == {old.id}
    sealer.retire(old.id)
    assert sealed_by(sealer.seal(_PLACE, b"x")) == {new.id}
    sealer.retire(new.id)
    with pytest.raises(KeyFileError, match="a rotation replaced"):
        sealer.seal(_PLACE, b"x")


def test_running_process_follows_its_file(path: Path) -> None:
    running, (old,), new = Sealer(path), _keys(path), make_key()
    sealed = running.seal(_PLACE, b"x")

    replace_key_file(path, [new])
    assert sealed_by(running.seal(_PLACE, b"x")) == {new.id}
    # Memory may hold what the former key sealed.
    assert running.open(_PLACE, sealed) == b"x"
    renewed = running.renew(_PLACE, sealed)
    assert sealed_by(renewed) == {new.id} and running.renew(_PLACE, renewed) == renewed
    value = f'{{"a": "{sealed}", "b": "{renewed}", "c": 1}}'.encode()
    both = running.renew_all(_PLACE.key, value)
    assert sealed_by(both) == {new.id} and old.id.encode() not in both
    assert renewed.encode() in both and both.endswith(b'"c": 1}')


def test_reader_finds_a_key_that_was_added_since(path: Path) -> None:
    reader, (old,), new = Sealer(path), _keys(path), make_key()
    replace_key_file(path, [new, old])
    assert reader.open(_PLACE, Sealer(path).seal(_PLACE, b"x")) == b"x"


def test_running_process_survives_a_lost_or_broken_file(path: Path) -> None:
    running = Sealer(path)
    sealed = running.seal(_PLACE, b"x")
    _write(path, "rubbish")
    assert running.open(_PLACE, running.seal(_PLACE, b"y")) == b"y"
    path.unlink()
    assert running.open(_PLACE, sealed) == b"x" and running.keys
    with pytest.raises(KeyFileError, match="is missing"):
        Sealer(path).seal(_PLACE, b"x")


def test_key_file_is_private_from_its_first_byte(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        assert create_key_file(tmp_path / "new" / "secret.key")
    finally:
        os.umask(old)
    assert (tmp_path / "new" / "secret.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["secret.key"]


def test_file_that_exists_is_never_replaced_by_a_first_start(path: Path) -> None:
    before = path.read_bytes()
    assert not create_key_file(path)
    assert path.read_bytes() == before and len([*path.parent.iterdir()]) == 1


def test_processes_that_start_at_once_get_one_key(tmp_path: Path) -> None:
    path, made = tmp_path / "secret.key", list[bool]()
    threads = [
        threading.Thread(target=lambda: made.append(create_key_file(path))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == 1 and len(_keys(path)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610])
def test_file_open_to_others_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        Sealer(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "holds no key"),
        ("# only a comment\n\n", "holds no key"),
        ("rubbish", "line 1: not a key"),
        (base64.b64encode(b"k" * 31).decode(), "line 1: not a key"),
        (f"# one\n{base64.b64encode(b'k' * 32).decode()}\nnext x", "line 3: not a key"),
        (f"{base64.b64encode(b'k' * 32).decode()}\n" * 2, "holds a key twice"),
        ("\0" * 70_000, "too long"),
        ("é" * 10, "line 1: not a key"),
    ],
)
def test_unusable_file_is_refused_with_its_line(path: Path, text: str, error: str) -> None:
    _write(path, text)
    with pytest.raises(KeyFileError, match=error):
        Sealer(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("pipe", "folder"):
        with pytest.raises(KeyFileError, match="no regular file"):
            Sealer(tmp_path / name)
    (tmp_path / "blocker").write_text("")
    with pytest.raises(KeyFileError, match="cannot be"):
        Sealer(tmp_path / "blocker" / "secret.key")
    with pytest.raises(KeyFileError, match="cannot be written"):
        create_key_file(tmp_path / "blocker" / "secret.key")


def test_key_of_openssl_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    _write(tmp_path / "mounted", "  " + base64.b64encode(b"k" * 32).decode() + "\r\n")
    (tmp_path / "secret.key").symlink_to("mounted")
    assert read_key_file(tmp_path / "secret.key") == (SecretKey(b"k" * 32),)

    replace_key_file(tmp_path / "secret.key", [make_key(), SecretKey(b"k" * 32, waits=True)])
    assert (tmp_path / "secret.key").is_symlink()
    assert [key.waits for key in _keys(tmp_path / "mounted")] == [False, True]


def test_no_key_shows_in_a_repr(path: Path) -> None:
    sealer = Sealer(path)
    key = sealer.keys[0]
    for text in (repr(sealer), repr(key), repr([key])):
        assert key.id in text and repr(key.value)[2:-1] not in text
