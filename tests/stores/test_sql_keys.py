"""Credentials in PostgreSQL, as several heads use them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.stores.postgres import database, server, start, stop

from clary.domain.errors import Unavailable
from clary.stores.keys import FileKeys, KeptKeys, read_folder, write_folder
from clary.stores.sql_keys import SqlKeys
from clary.testing.keys import ACCOUNT, ROLE, KeysConformance

__all__ = ["database", "server"]


class _Opened:
    """Opens keyrings of one database and closes them."""

    def __init__(self, url: str) -> None:
        self._url, self._all = url, list[SqlKeys]()

    def __call__(self) -> SqlKeys:
        self._all.append(SqlKeys(self._url))
        return self._all[-1]

    def close(self) -> None:
        for keys in self._all:
            keys.close()


@pytest.fixture
def opened(database: str) -> Iterator[Callable[[], SqlKeys]]:
    opened = _Opened(database)
    yield opened
    opened.close()


def _within(seconds: float, condition: Callable[[], bool]) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds
        time.sleep(0.002)
    return time.monotonic() - begun


class TestSqlKeys(KeysConformance):
    @pytest.fixture(autouse=True)
    def _server(self, opened: Callable[[], SqlKeys]) -> None:
        self.keys = opened  # type: ignore[method-assign]  # the class asks for a method


def test_each_head_hears_of_the_other_s_keys_within_a_second(opened: Callable[[], SqlKeys]) -> None:
    one, two = opened(), opened()
    assert two.find("AKIA0000000000000000") is None  # it listens from here on
    made = one.create(ACCOUNT, "clary")
    temporary = one.issue(ACCOUNT, ROLE, 3600, 4_000_000_000)
    assert _within(1, lambda: two.find(made.access_key_id) == made) < 1
    assert two.find(temporary.access_key_id, temporary.session_token) == temporary
    one.revoke(made.access_key_id)
    _within(1, lambda: two.find(made.access_key_id) is None)
    one.revoke(temporary.access_key_id)
    _within(1, lambda: two.find(temporary.access_key_id, temporary.session_token) is None)
    assert one.derive(b"pages") == two.derive(b"pages")


def test_a_keyring_that_nobody_asked_for_long_knows_what_was_revoked_meanwhile(opened: Callable[[], SqlKeys]) -> None:
    one = opened()
    made = one.create(ACCOUNT, "clary")
    two = opened()
    one.revoke(made.access_key_id)
    assert two.find(made.access_key_id) is None


def test_the_first_start_of_many_heads_makes_one_pair(opened: Callable[[], SqlKeys]) -> None:
    heads = [opened() for _ in range(4)]
    threads = [threading.Thread(target=keys.ensure, args=(ACCOUNT, "clary")) for keys in heads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (made,) = heads[0].all()
    assert heads[1].ensure(ACCOUNT, "clary") == made


def test_while_the_server_is_away_known_keys_are_good_and_none_is_made(
    server: str, opened: Callable[[], SqlKeys]
) -> None:
    keys, other = opened(), opened()
    made = keys.create(ACCOUNT, "clary")
    gone = keys.create(ACCOUNT, "ada")
    assert keys.find(made.access_key_id) == made
    stop(server, "immediate")
    try:
        assert keys.find(made.access_key_id) == made
        with pytest.raises(Unavailable, match="Is the server up"):
            keys.create(ACCOUNT, "eve")
    finally:
        start(server)
    other.revoke(gone.access_key_id)
    _within(5, lambda: keys.find(gone.access_key_id) is None)
    assert keys.find(made.access_key_id) == made


def test_a_find_takes_microseconds(opened: Callable[[], SqlKeys]) -> None:
    keys = opened()
    made = keys.create(ACCOUNT, "clary")
    keys.find(made.access_key_id)

    def took() -> float:
        begin = time.thread_time()
        for _ in range(100):
            keys.find(made.access_key_id)
        return (time.thread_time() - begin) / 100

    assert min(took() for _ in range(10)) < 50e-6


def test_a_folder_is_taken_in_once(tmp_path: Path, opened: Callable[[], SqlKeys]) -> None:
    files = FileKeys(tmp_path / "keys")
    made, gone = files.create(ACCOUNT, "clary"), files.create(ACCOUNT, "ada")
    issued = files.issue(ACCOUNT, ROLE, 3600, 4_000_000_000)
    revoked = files.issue(ACCOUNT, ROLE, 3600, 4_000_000_000)
    files.revoke(revoked.access_key_id)
    kept = read_folder(tmp_path / "keys")
    assert kept is not None
    keys = opened()
    assert keys.adopt(kept, master=True)
    assert keys.find(made.access_key_id) == made
    assert keys.find(issued.access_key_id, issued.session_token) == issued
    assert keys.find(revoked.access_key_id, revoked.session_token) is None
    keys.revoke(gone.access_key_id)
    assert not keys.adopt(kept, master=True)
    assert keys.find(gone.access_key_id) is None


def test_what_a_database_keeps_becomes_a_folder(tmp_path: Path, opened: Callable[[], SqlKeys]) -> None:
    keys = opened()
    made = keys.create(ACCOUNT, "clary")
    issued = keys.issue(ACCOUNT, ROLE, 3600, 4_000_000_000)
    FileKeys(tmp_path / "keys").create(ACCOUNT, "of before")
    write_folder(keys.kept(), tmp_path / "keys")
    files = FileKeys(tmp_path / "keys")
    assert list(files.all()) == [made]
    assert files.find(issued.access_key_id, issued.session_token) == issued
    assert files.derive(b"pages") == keys.derive(b"pages")


def test_an_adopted_folder_without_its_master_leaves_the_one_that_is_there(opened: Callable[[], SqlKeys]) -> None:
    keys = opened()
    before = keys.derive(b"pages")
    pair = {"access_key_id": "AKIA1", "secret": "s", "account": ACCOUNT, "principal": "p", "created": 1.0}
    assert keys.adopt(KeptKeys("ab" * 32, (pair,)))
    assert keys.derive(b"pages") == before
    assert replace(keys.all()[0], tags={}).access_key_id == "AKIA1"


def test_who_watches_is_told_what_another_revoked_once(opened: Callable[[], SqlKeys]) -> None:
    one, two = opened(), opened()
    told: list[str] = []
    two.watch(told.append)
    made = one.create(ACCOUNT, "clary")
    temporary = one.issue(ACCOUNT, ROLE, 3600, 4_000_000_000)
    _within(1, lambda: two.find(made.access_key_id) == made)
    one.revoke(made.access_key_id)
    one.revoke(temporary.access_key_id)
    _within(1, lambda: len(told) == 2)
    two.all()
    assert told == [made.access_key_id, temporary.access_key_id]
