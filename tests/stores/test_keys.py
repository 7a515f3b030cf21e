"""Credentials as files."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path

import pytest

from clary.domain.errors import Invalid
from clary.stores.keys import FileKeys
from clary.testing.keys import ACCOUNT, ROLE, KeysConformance, MemoryKeys


class TestFileKeys(KeysConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "keys"

    def keys(self) -> FileKeys:
        return FileKeys(self.folder)

    def test_only_the_owner_may_read(self) -> None:
        keys = self.keys()
        keys.create(ACCOUNT, "clary")
        keys.revoke(keys.issue(ACCOUNT, ROLE, 60, time.time()).access_key_id)
        assert self.folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in self.folder.iterdir()} == {0o600}

    def test_another_process_sees_the_same_at_once(self) -> None:
        one, two = self.keys(), self.keys()
        made = one.create(ACCOUNT, "clary")
        temporary = one.issue(ACCOUNT, ROLE, 3600, 4_000_000_000)
        assert two.find(made.access_key_id) == made
        assert two.find(temporary.access_key_id, temporary.session_token) == temporary
        one.revoke(made.access_key_id)
        assert two.find(made.access_key_id) is None
        one.revoke(temporary.access_key_id)
        assert two.find(temporary.access_key_id, temporary.session_token) is None

    def test_the_first_start_makes_one_pair(self) -> None:
        made = self.keys().ensure(ACCOUNT, "clary")
        assert self.keys().ensure(ACCOUNT, "clary") == made
        assert list(self.keys().all()) == [made]
        assert self.keys().ensure("111111111111", "clary") != made

    def test_a_stranger_s_token_is_refused(self, tmp_path: Path) -> None:
        foreign = FileKeys(tmp_path / "other").issue(ACCOUNT, ROLE, 3600, 1000)
        keys = self.keys()
        assert keys.find(foreign.access_key_id, foreign.session_token) is None
        for token in ("", "x", "%%%", "é", base64.b64encode(b"[]").decode(), base64.b64encode(b"\0" * 99).decode()):
            assert keys.find("ASIA0000000000000000", token) is None

    def test_a_find_takes_microseconds(self) -> None:
        keys = self.keys()
        made = keys.create(ACCOUNT, "clary")
        temporary = keys.issue(ACCOUNT, ROLE, 3600, 1000)
        past = time.time() - 10
        os.utime(self.folder, (past, past))
        keys.find(made.access_key_id)

        def took() -> float:
            begin = time.thread_time()  # others may be at work on this machine
            for _ in range(100):
                keys.find(made.access_key_id)
                keys.find(temporary.access_key_id, temporary.session_token)
            return (time.thread_time() - begin) / 200

        assert min(took() for _ in range(10)) < 50e-6

    def test_a_damaged_file_locks_nobody_else_out(self) -> None:
        made = self.keys().create(ACCOUNT, "clary")
        (self.folder / "AKIADAMAGED.json").write_text("{")
        assert self.keys().find(made.access_key_id) == made

    def test_purposes_have_secrets_of_their_own(self) -> None:
        keys = self.keys()
        assert keys.derive(b"objects") == self.keys().derive(b"objects")
        assert keys.derive(b"objects") != keys.derive(b"pages")

    def test_an_account_has_twelve_digits(self) -> None:
        with pytest.raises(Invalid):
            self.keys().create("../evil", "clary")


class TestMemoryKeys(KeysConformance):
    def keys(self) -> MemoryKeys:
        return MemoryKeys()
