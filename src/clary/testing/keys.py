"""The conformance class of the `Keys` port, and the fake in memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from clary.domain.errors import NotFound
from clary.ports import Credential, Keys

ACCOUNT = "000000000000"
ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role/Trainer/one"


class MemoryKeys:
    """`ports.Keys` in a dict: predictable ids and secrets."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._known: dict[str, Credential] = {}

    def find(self, access_key_id: str, session_token: str = "") -> Credential | None:
        credential = self._known.get(access_key_id)
        return credential if credential and credential.session_token == session_token else None

    def issue(self, account: str, principal: str, seconds: float, now: float) -> Credential:
        number = next(self._numbers)
        access_key_id = f"ASIA{number:016d}"
        credential = Credential(
            access_key_id, f"secret-{number}", account, principal, f"token-{number}", float(int(now + seconds))
        )
        self._known[access_key_id] = credential
        return credential

    def create(self, account: str, name: str) -> Credential:
        number = next(self._numbers)
        principal, tags = f"arn:aws:iam::{account}:user/{name}", {"created": f"{number}.0"}
        credential = Credential(f"AKIA{number:016d}", f"secret-{number}", account, principal, tags=tags)
        self._known[credential.access_key_id] = credential
        return credential

    def revoke(self, access_key_id: str) -> None:
        if self._known.pop(access_key_id, None) is None and not access_key_id.startswith("ASIA"):
            raise NotFound(f"The access key with id {access_key_id} cannot be found.")

    def all(self) -> Sequence[Credential]:
        return [credential for credential in self._known.values() if not credential.session_token]


class KeysConformance:
    """Inherit, and answer an implementation without credentials from `keys`."""

    def keys(self) -> Keys:
        raise NotImplementedError

    def test_nobody_is_known_at_first(self) -> None:
        keys = self.keys()
        assert list(keys.all()) == []
        assert keys.find("AKIA0000000000000000") is None
        assert keys.find("ASIA0000000000000000", "token") is None
        assert keys.find("../../etc/passwd") is None

    def test_a_permanent_pair_is_found_until_it_is_revoked(self) -> None:
        keys = self.keys()
        made = keys.create(ACCOUNT, "clary")
        other = keys.create(ACCOUNT, "ada")
        assert made.access_key_id.startswith("AKIA")
        assert len(made.access_key_id) == 20
        assert made.principal == f"arn:aws:iam::{ACCOUNT}:user/clary"
        assert (made.session_token, made.expires) == ("", None)
        assert float(made.tags["created"]) > 0
        assert keys.find(made.access_key_id) == made
        assert {credential.access_key_id for credential in keys.all()} == {made.access_key_id, other.access_key_id}
        keys.revoke(made.access_key_id)
        assert keys.find(made.access_key_id) is None
        assert keys.find(other.access_key_id) == other
        with pytest.raises(NotFound):
            keys.revoke(made.access_key_id)

    def test_a_temporary_credential_needs_its_own_token(self) -> None:
        keys = self.keys()
        made = keys.issue(ACCOUNT, ROLE, 3600, 1000.5)
        other = keys.issue(ACCOUNT, ROLE, 3600, 1000.5)
        assert made.access_key_id.startswith("ASIA")
        assert made.expires == 4600
        assert made.access_key_id != other.access_key_id
        assert made.secret != other.secret
        assert made.secret not in made.session_token
        assert keys.find(made.access_key_id, made.session_token) == made
        assert keys.find(made.access_key_id) is None
        assert keys.find(made.access_key_id, other.session_token) is None
        assert keys.find(made.access_key_id, made.session_token[:-2] + "xx") is None

    def test_temporary_credentials_are_not_listed(self) -> None:
        keys = self.keys()
        keys.issue(ACCOUNT, ROLE, 3600, 1000)
        assert list(keys.all()) == []

    def test_a_permanent_pair_has_no_token(self) -> None:
        keys = self.keys()
        made = keys.create(ACCOUNT, "clary")
        assert keys.find(made.access_key_id, "token") is None

    def test_a_temporary_credential_can_be_revoked(self) -> None:
        keys = self.keys()
        made = keys.issue(ACCOUNT, ROLE, 3600, 4_000_000_000)
        other = keys.issue(ACCOUNT, ROLE, 3600, 4_000_000_000)
        assert keys.find(made.access_key_id, made.session_token) == made
        keys.revoke(made.access_key_id)
        keys.revoke(made.access_key_id)
        assert keys.find(made.access_key_id, made.session_token) is None
        assert keys.find(other.access_key_id, other.session_token) == other

    def test_credentials_are_values(self) -> None:
        made = self.keys().create(ACCOUNT, "clary")
        assert replace(made) == made
