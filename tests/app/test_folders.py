"""The folder of sockets is made anew, and stays the same folder for those who have it mounted."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clary.app import folders
from clary.app.settings import Settings
from clary.domain.errors import Unavailable


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    made = Settings(dir=str(tmp_path / "state"))
    yield made
    if made.run.exists():
        folders.remove_run(made)


def test_what_a_killed_clary_left_is_removed_but_workers_stays_the_same_folder(settings: Settings) -> None:
    folders.make(settings)
    before = (settings.run / "workers").stat().st_ino
    left = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    left[0].bind(str(settings.front_workers(0)))
    left[1].bind(str(settings.front_ctl(0)))
    (settings.run / "settings.json").write_text("{}")
    folders.make(settings)
    assert (settings.run / "workers").stat().st_ino == before
    assert sorted(p.name for p in settings.run.rglob("*")) == ["ctl", "workers"]
    folders.listen_unix(settings.front_workers(0), 0o666).close()
    for each in left:
        each.close()


def test_the_days_that_an_earlier_version_kept_are_removed(settings: Settings) -> None:
    folders.make(settings)
    assert not (settings.root / "days").exists()
    (settings.root / "days").mkdir()
    (settings.root / "days" / "0123.day").write_bytes(b"\0" * 136)
    folders.claim(settings)
    folders.make(settings)
    assert not (settings.root / "days").exists()


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    for ephemeral in (False, True):
        with pytest.raises(Unavailable, match="--dir names"):
            folders.claim(Settings(dir=str(tmp_path), ephemeral=ephemeral))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_with_data_is_not_made_ephemeral(settings: Settings) -> None:
    folders.claim(settings)
    folders.prepare_root(settings)
    folders.claim(settings)  # the next start
    forgetful = replace(settings, ephemeral=True)
    with pytest.raises(Unavailable, match="--ephemeral deletes"):
        folders.claim(forgetful)
    folders.forget(forgetful)
    assert (settings.root / "keys").exists()


def test_an_ephemeral_folder_is_forgotten_but_not_its_settings(settings: Settings) -> None:
    forgetful = replace(settings, ephemeral=True)
    settings.root.mkdir()
    (settings.root / "clary.toml").write_text("port = 4700\n")
    for _ in range(2):  # the second after a crash, which forgets nothing
        folders.claim(forgetful)
        folders.prepare_root(forgetful)
    folders.forget(forgetful)
    assert [path.name for path in settings.root.iterdir()] == ["clary.toml"]
    (settings.root / "clary.toml").unlink()
    folders.claim(forgetful)
    folders.forget(forgetful)
    assert not settings.root.exists()


def test_a_folder_that_cannot_be_made_says_so() -> None:
    for attempt in (folders.claim, folders.prepare_root):
        with pytest.raises(Unavailable, match=r"cannot be the state folder: .*; --dir names another"):
            attempt(Settings(dir="/proc/none/such", ephemeral=True))


def test_the_lock_names_its_holder(settings: Settings) -> None:
    first, second = folders.Lock(settings), folders.Lock(settings)
    first.take({"pid": 17, "endpoint": "http://127.0.0.1:1"})
    with pytest.raises(Unavailable, match=r"is in use by pid 17 at http://127\.0\.0\.1:1"):
        second.take({"pid": 18, "endpoint": ""})
    first.drop()
    second.take({"pid": 18, "endpoint": ""})
    second.drop()


@pytest.mark.parametrize("left", ["", "{", json.dumps({"pid": 1, "endpoint": "http://127.0.0.1:1"})])
def test_a_stale_lock_file_holds_nobody_up(settings: Settings, left: str) -> None:
    settings.root.mkdir()
    (settings.root / "clary.lock").write_text(left)
    assert folders.holding(settings.root / "clary.lock") is None
    lock = folders.Lock(settings)
    lock.take({"pid": 18, "endpoint": ""})
    lock.drop()


def test_a_taken_port_names_who_has_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            Unavailable, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use by .*pid"
        ):
            folders.listen_tcp("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "nobody.invalid"])
def test_an_address_of_another_machine_is_no_matter_of_the_port(host: str) -> None:
    with pytest.raises(Unavailable, match=rf"cannot listen on {host}:0: .*; --host takes an address of this machine"):
        folders.listen_tcp(host, 0)


@pytest.mark.parametrize("gone", ["missing", "empty"])
def test_records_that_should_be_there_are_not_begun_anew(settings: Settings, gone: str) -> None:
    folders.make(settings)
    (settings.root / "jobs" / "j").mkdir()
    (settings.root / "replicas" / "r1").mkdir(parents=True)  # of an earlier version
    (settings.root / "backend" / "own" / "replica-r2").mkdir(parents=True)
    (settings.root / "backend" / "own" / "query-1").mkdir()
    (settings.root / "objects" / "blobs" / "000001").mkdir(parents=True)
    if gone == "empty":
        (settings.root / "records.db").touch()
    with pytest.raises(Unavailable, match=r"records\.db, but 1 job, 2 replicas in .*`clary up --new-records`"):
        folders.check_records(settings)
    (settings.root / "objects" / "blobs" / "000001" / "0001").touch()
    with pytest.raises(Unavailable, match="1 job, 2 replicas, objects in"):
        folders.check_records(settings)
    assert folders.refusal(settings)
    folders.check_records(replace(settings, new_records=True))
    assert folders.refusal(settings) == ""  # until there are records
    folders.have_records(settings)
    assert folders.refusal(settings)
    (settings.root / "records.db").write_bytes(b"something")
    folders.check_records(settings)


def test_a_new_folder_may_begin_with_no_records_although_objects_come_first(settings: Settings) -> None:
    folders.make(settings)
    folders.check_records(settings)
    (settings.root / "objects" / "blobs" / "000001").mkdir(parents=True)
    (settings.root / "objects" / "blobs" / "000001" / "0001").touch()
    assert folders.refusal(settings) == ""
    folders.have_records(settings)
    assert "but objects in" in folders.refusal(settings)


def test_records_in_a_database_are_looked_for_there(settings: Settings) -> None:
    elsewhere = replace(settings, database="postgresql://db/clary")
    folders.make(elsewhere)
    (settings.root / "jobs" / "j").mkdir()
    folders.check_records(elsewhere)  # who can tell is the control plane
    assert "the database of the setting `database`, but 1 job in" in folders.refusal(elsewhere)


def test_that_records_were_written_is_known_without_anything_else(settings: Settings) -> None:
    folders.make(settings)
    (settings.root / "records.db.commits").write_text("0000000003\n")
    with pytest.raises(Unavailable, match=r"no records in .*records\.db, but a count of their writes in"):
        folders.check_records(settings)
