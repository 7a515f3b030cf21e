"""Credentials: what every keyring does with its master secret, and the `Keys` port over the folder `keys/`.

Owns the master secret, permanent key pairs (one file each) and the list of revoked temporary ones. A temporary credential is
stored nowhere: its session token carries whom it speaks for and until when, under a MAC, and its secret is derived from the
master secret, so that every process that has the master secret verifies it alone. Nothing secret is in the token.

Does not know HTTP and signatures (`wire.sigv4`), and whether a credential has expired: callers compare `expires` with their
clock, because AWS answers an expired token differently from an unknown one.
"""

from __future__ import annotations

import base64
import fcntl
import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clary.domain.errors import Invalid, NotFound
from clary.ports import Credential

log = logging.getLogger(__name__)

MASTER = "master"
REVOKED = "revoked.json"
LOCK = "lock"
MAC_BYTES = 32
CACHE_ENTRIES = 8192
# A folder's mtime moves in ticks of the kernel's clock (up to 10 ms): what was read within a tick of a change may be older.
SETTLED_NS = 100_000_000


class Keyring:
    """What `ports.Keys` needs beside a place to keep it: the master secret, and in memory the permanent pairs and what was revoked."""

    def __init__(self, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._random = random
        self._master = b""
        self._permanent: dict[str, Credential] = {}
        self._revoked: Mapping[str, float] = {}
        self._temporary: dict[str, Credential] = {}

    def find(self, access_key_id: str, session_token: str = "") -> Credential | None:
        """The credential of this key id and token; None when unknown, revoked, or not matching each other."""
        self._refresh()
        if not session_token:
            return self._permanent.get(access_key_id)
        credential = self._temporary.get(session_token)
        if credential is None:
            credential = self._open(session_token)
            if credential is None:
                return None
            if len(self._temporary) >= CACHE_ENTRIES:
                self._temporary.clear()
            self._temporary[session_token] = credential
        if credential.access_key_id != access_key_id or access_key_id in self._revoked:
            return None
        return credential

    def issue(self, account: str, principal: str, seconds: float, now: float) -> Credential:
        """Temporary credentials of `principal`, an ARN, that end `seconds` after `now`."""
        expires = int(now + seconds)
        # The key id carries when it ends: a revocation then need not be remembered for longer.
        unique = expires.to_bytes(5, "big") + self._random(5)
        access_key_id = "ASIA" + base64.b32encode(unique).decode()
        payload = json.dumps([access_key_id, account, principal, expires], separators=(",", ":")).encode()
        token = base64.b64encode(_mac(self._master, b"token", payload) + payload).decode()
        return self._credential(payload, token)

    def create(self, account: str, name: str) -> Credential:
        """A new permanent key pair of the account's user `name`."""
        raise NotImplementedError

    def ensure(self, account: str, name: str) -> Credential:
        """The account's first permanent pair, made when there is none (first start)."""
        raise NotImplementedError

    def revoke(self, access_key_id: str) -> None:
        """A permanent pair is removed; a temporary one is refused until it would have ended. NotFound for no such pair."""
        raise NotImplementedError

    def all(self) -> Sequence[Credential]:
        """Every permanent pair, oldest first."""
        raise NotImplementedError

    def derive(self, purpose: bytes) -> bytes:
        """32 bytes for another use inside Clary (sealing page tokens, the object store's own door), the same in each process."""
        return _mac(self._master, b"derive " + purpose, b"")

    def watch(self, gone: Callable[[str], None]) -> None:
        """Have `gone` called, in any thread, with the id of each key that another process has revoked, if that has a store of its own to
        hear it from. A folder's keys are revoked by the process that serves them."""

    def _refresh(self) -> None:
        """Look whether what is in memory is still so. Microseconds: each request asks."""
        raise NotImplementedError

    def _new_pair(self, account: str, name: str) -> dict[str, Any]:
        if not (account.isdigit() and len(account) == 12):
            raise Invalid(f"An account is 12 digits, not {account!r}.")
        return {
            "access_key_id": "AKIA" + base64.b32encode(self._random(10)).decode(),
            "secret": base64.b64encode(self._random(30)).decode(),
            "account": account,
            "principal": f"arn:aws:iam::{account}:user/{name}",
            "created": time.time(),
        }

    def _keep(self, pairs: Iterable[Mapping[str, Any]]) -> None:
        """Hold these permanent pairs, oldest first, and no others."""
        found = [permanent(pair) for pair in pairs]
        found.sort(key=lambda credential: (float(credential.tags["created"]), credential.access_key_id))
        self._permanent = {credential.access_key_id: credential for credential in found}

    def _open(self, token: str) -> Credential | None:
        try:
            raw = base64.b64decode(token, validate=True)
        except ValueError:
            return None
        mac, payload = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not hmac.compare_digest(mac, _mac(self._master, b"token", payload)):
            return None
        return self._credential(payload, token)

    def _credential(self, payload: bytes, token: str) -> Credential:
        access_key_id, account, principal, expires = json.loads(payload)
        secret = base64.b64encode(_mac(self._master, b"secret", payload)[:30]).decode()
        return Credential(access_key_id, secret, account, principal, token, float(expires))


class FileKeys(Keyring):
    """`ports.Keys` over a folder (0700, files 0600). Several processes may use the same folder."""

    def __init__(self, folder: str | os.PathLike[str], random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        super().__init__(random)
        self._folder = Path(folder)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = str(self._folder)
        self._master = self._load_master()
        self._mtime = -1

    def create(self, account: str, name: str) -> Credential:
        pair = self._new_pair(account, name)
        _write(self._folder / f"{pair['access_key_id']}.json", json.dumps(pair).encode())
        return permanent(pair)

    def ensure(self, account: str, name: str) -> Credential:
        with self._locked():
            mine = [credential for credential in self.all() if credential.account == account]
            return mine[0] if mine else self.create(account, name)

    def revoke(self, access_key_id: str) -> None:
        if access_key_id.startswith("ASIA"):
            expires = expiry(access_key_id)
            with self._locked():
                self._reload()
                revoked = {key: until for key, until in self._revoked.items() if until > time.time()}
                revoked[access_key_id] = expires
                _write(self._folder / REVOKED, json.dumps(revoked).encode())
            self._mtime = -1
            return
        if not access_key_id.isalnum():
            raise NotFound(f"The access key with id {access_key_id} cannot be found.")
        try:
            os.unlink(self._folder / f"{access_key_id}.json")
        except FileNotFoundError:
            raise NotFound(f"The access key with id {access_key_id} cannot be found.") from None
        _sync_folder(self._folder)
        self._mtime = -1

    def all(self) -> Sequence[Credential]:
        self._reload()
        return list(self._permanent.values())

    # -- inside ----------------------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        if os.stat(self._path).st_mtime_ns != self._mtime:
            self._reload()

    def _load_master(self) -> bytes:
        path = self._folder / MASTER
        with self._locked():
            if not path.exists():
                _write(path, self._random(32).hex().encode())
            return master_of(path.read_text(), str(path))

    def _reload(self) -> None:
        mtime = os.stat(self._path).st_mtime_ns
        self._keep(_pairs(self._folder))
        self._revoked = _read_json(os.path.join(self._path, REVOKED)) or {}
        self._mtime = mtime if time.time_ns() - mtime > SETTLED_NS else -1

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """All that a keyring keeps: the master secret as hexadecimal digits, permanent pairs as documents, and until when (epoch seconds)
    which temporary credential is revoked."""

    master: str
    pairs: Sequence[Mapping[str, Any]] = ()
    revoked: Mapping[str, float] = field(default_factory=dict)


def read_folder(folder: Path) -> KeptKeys | None:
    """What the folder of a `FileKeys` holds; None where there is none yet."""
    try:
        master = (folder / MASTER).read_text()
    except FileNotFoundError:
        return None
    return KeptKeys(master, tuple(_pairs(folder)), _read_json(str(folder / REVOKED)) or {})


def write_folder(kept: KeptKeys, folder: Path) -> None:
    """Make the folder hold just that. Killed in it, it holds some of it: write it again."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    documents = {f"{pair['access_key_id']}.json": json.dumps(dict(pair)) for pair in kept.pairs}
    for entry in list(os.scandir(folder)):
        if entry.name.endswith(".json") and entry.name not in documents:
            os.unlink(entry.path)
    wanted = {**documents, REVOKED: json.dumps(dict(kept.revoked)), MASTER: kept.master}
    for name, text in wanted.items():
        _write(folder / name, text.encode())


def permanent(pair: Mapping[str, Any]) -> Credential:
    """A pair's document as a credential. The tag `created` is when the pair was made, in epoch seconds."""
    tags = {"created": repr(pair["created"])}
    return Credential(pair["access_key_id"], pair["secret"], pair["account"], pair["principal"], tags=tags)


def master_of(text: str, where: str) -> bytes:
    master = bytes.fromhex(text)
    if len(master) != 32:
        raise Invalid(f"{where} is damaged: it must hold 64 hexadecimal digits.")
    return master


def _pairs(folder: Path) -> Iterator[Mapping[str, Any]]:
    for entry in os.scandir(folder):
        if entry.name.endswith(".json") and entry.name != REVOKED:
            document = _read_json(entry.path)
            if document is not None:
                yield document


def _mac(master: bytes, purpose: bytes, payload: bytes) -> bytes:
    return hmac.digest(master, purpose + b"\0" + payload, "sha256")


def expiry(access_key_id: str) -> float:
    """When a temporary credential ends, in epoch seconds, as its id tells. NotFound for what is no such id."""
    try:
        return float(int.from_bytes(base64.b32decode(access_key_id[4:])[:5], "big"))
    except ValueError:
        raise NotFound(f"The access key with id {access_key_id} cannot be found.") from None


def _read_json(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            document: dict[str, Any] = json.load(file)
            return document
    except FileNotFoundError:
        return None
    except ValueError:
        # One damaged file must not lock everybody else out.
        log.warning("%s is damaged and counts for nothing", path)
        return None


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and on disk when this returns."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
