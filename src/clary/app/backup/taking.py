"""Taking a backup while Clary runs: one moment of each database, then the content that they name, then a manifest.

Records come first, the object index after them, so that no record names an object that is not there yet. Blobs never change, and those
of the backup before are not read again. Killed at any moment it leaves the earlier backups as they were, and perhaps content that
nothing names, which the next `prune` removes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import MetaData, make_url
from sqlalchemy.exc import SQLAlchemyError

from clary.app.backup.alone import alone
from clary.app.backup.manifest import DATA, SNAPSHOTS, KeptFile, Manifest, data_path, name_at
from clary.app.backup.vaults import Vault
from clary.app.bindings import OWN_OBJECTS, OWN_RECORDS, Bindings
from clary.app.keys import shared, shared_kept
from clary.app.objects import index_url
from clary.app.settings import Settings
from clary.domain.errors import NotFound, Unavailable
from clary.stores import features, index_schema, schema
from clary.stores.database import Database
from clary.stores.keys import write_folder
from clary.stores.transfer import transfer

STAGE = ".backup"  # below the state folder, while a backup is taken
# What Clary makes again by itself, or what belongs to processes that run here and to nobody else.
LEFT_OUT = frozenset(
    {"environments", "models", "replicas", "run", "edge", "jobs", "backend", "sdk", "queries", "days", "objects", STAGE}
    | {"clary.lock", ".ephemeral", "records.db", "features.db", "logs/clary"}
)
BESIDE = ("-wal", "-shm", ".commits", ".lock", ".part")  # of databases and of files being written
ROUNDS = 5  # looks at the index, when objects are deleted faster than they are copied
SQLITE = b"SQLite format 3\0"
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Taken:
    """What a backup holds, and what of it was new."""

    name: str
    files: int
    objects: int
    size: int
    added: int  # bytes that were not in the vault before


def take(settings: Settings, vault: Vault, now: float) -> Taken:
    """One backup. Unavailable when the vault or a database cannot be used, or another backup is being taken."""
    with _stage(settings.root) as stage:
        before = newest(vault)
        filling = _Filling(vault, stage, before)
        manifest = filling.manifest(settings, name_at(now))
        vault.settle()
        vault.put(manifest.path, manifest.dump())
    contents = manifest.contents()
    return Taken(manifest.name, len(manifest.files), len(manifest.blobs), sum(contents.values()), filling.added)


def snapshots(vault: Vault) -> list[str]:
    """Names of the backups there, oldest first."""
    found = [path for path in vault.names(SNAPSHOTS) if path.endswith(".json")]
    return [path.removeprefix(SNAPSHOTS).removesuffix(".json") for path in found]


def load(vault: Vault, name: str) -> Manifest:
    path = f"{SNAPSHOTS}{name}.json"
    return Manifest.parse(vault.get(path), f"{vault.where}/{path}")


def newest(vault: Vault) -> Manifest | None:
    names = snapshots(vault)
    return load(vault, names[-1]) if names else None


def prune(vault: Vault, keep: int) -> int:
    """Keep the newest `keep` backups; how many were removed. Content goes after the manifests that named it."""
    names = snapshots(vault)
    gone = names[: max(0, len(names) - keep)]
    wanted = {data_path(sha) for name in names[len(gone) :] for sha in load(vault, name).contents()}
    for name in gone:
        vault.delete(f"{SNAPSHOTS}{name}.json")
    vault.settle()
    for path in vault.names(DATA):
        if path not in wanted:
            vault.delete(path)
    return len(gone)


@contextmanager
def _stage(root: Path) -> Iterator[Path]:
    """A folder on the disk of the state folder, ours alone; what a killed backup left goes first."""
    if not (root / "keys").is_dir():
        raise NotFound(f"{root} is no state folder of Clary: --dir names it")
    stage = root / STAGE
    stage.mkdir(0o700, exist_ok=True)
    with alone(stage / "lock", f"another backup of {root} is being taken"):
        for left in stage.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != "lock":
                left.unlink()
        yield stage
        for left in stage.iterdir():
            left.unlink()
        stage.rmdir()


class _Filling:
    """Puts what is new into the vault. `before`: the newest backup, whose content is not read again."""

    def __init__(self, vault: Vault, stage: Path, before: Manifest | None) -> None:
        self._vault, self._stage, self._before = vault, stage, before
        self._there = set(vault.names(DATA))
        self.added = 0

    def manifest(self, settings: Settings, name: str) -> Manifest:
        root = settings.root
        own = not settings.s3_endpoint
        identity = self._identity(settings) if own else ""
        known = dict(self._before.blobs) if self._before and identity and self._before.index == identity else {}
        if own:
            self._ahead(root, known)
        files = {"records.db": self._database(settings.database_url, "records.db", schema.METADATA)}
        if settings.database or (root / "features.db").exists():
            files["features.db"] = self._database(settings.features_url, "features.db", features.METADATA)
        blobs, parts = self._objects(settings, known, files) if identity else ({}, {})
        files |= self._rest(root)
        if shared(settings.database):
            files = {name: kept for name, kept in files.items() if not name.startswith("keys/")} | self._keys(settings)
        bound = Bindings.of(settings)
        return Manifest(
            name=name,
            clary=version("clary"),
            account=settings.account,
            index=identity,
            database="" if bound.database == OWN_RECORDS else bound.database,
            objects="" if bound.objects == OWN_OBJECTS else bound.objects,
            files=files,
            blobs=blobs,
            parts=parts,
        )

    # -- content ---------------------------------------------------------------------------------------------------------------

    def _keep(self, source: Path) -> KeptFile:
        """Put a file that nobody writes any more. FileNotFoundError when it is gone."""
        with source.open("rb") as file:
            status = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        kept = KeptFile(digest, status.st_size, stat.S_IMODE(status.st_mode))
        path = data_path(kept.sha256)
        if path not in self._there:
            self._vault.put_file(path, source)
            self._there.add(path)
            self.added += kept.size
        return kept

    def _had(self, kept: KeptFile | None) -> KeptFile | None:
        """This, where the vault has its content already."""
        return kept if kept is not None and data_path(kept.sha256) in self._there else None

    # -- databases -------------------------------------------------------------------------------------------------------------

    def _copied(self, url: str, name: str, of: MetaData) -> Path:
        """One moment of a database as a SQLite file in the stage."""
        target = self._stage / name
        target.unlink(missing_ok=True)
        place = make_url(url)
        if place.get_backend_name() == "sqlite":
            copy_sqlite(Path(str(place.database)), target)
            return target
        source = Database(url).engine
        made = Database(f"sqlite:///{target}").engine
        try:
            transfer([(source, of)], made)
        except SQLAlchemyError as error:
            raise Unavailable(f"{place.render_as_string(hide_password=True)} cannot be read: {error}") from error
        finally:
            source.dispose()
            made.dispose()
        _plain(target)
        return target

    def _keys(self, settings: Settings) -> dict[str, KeptFile]:
        """Keys that several heads share, as the files that a folder has of them."""
        folder = self._stage / "keys"
        write_folder(shared_kept(settings), folder)
        found = {f"keys/{path.name}": self._keep(path) for path in sorted(folder.iterdir())}
        shutil.rmtree(folder)
        return found

    def _database(self, url: str, name: str, of: MetaData) -> KeptFile:
        staged = self._copied(url, name, of)
        try:
            return self._keep(staged)
        finally:
            staged.unlink()

    # -- objects ---------------------------------------------------------------------------------------------------------------

    @staticmethod
    def _identity(settings: Settings) -> str:
        """Of the object index; "" where there is none yet."""
        url = make_url(index_url(settings.root, settings.database))
        if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
            return ""
        engine = Database(index_url(settings.root, settings.database)).engine
        meta = index_schema.META
        try:
            with engine.connect() as connection:
                row = connection.execute(meta.select().where(meta.c.name == "identity")).one_or_none()
        except SQLAlchemyError as error:
            raise Unavailable(f"The object index cannot be read: {error}") from error
        finally:
            engine.dispose()
        return str(row.value) if row else ""

    def _ahead(self, root: Path, known: dict[str, KeptFile]) -> None:
        """Put the blobs that are there now, before the index is looked at: few are left to be put after it."""
        folder = root / "objects" / "blobs"
        for inner in sorted(folder.iterdir()) if folder.is_dir() else ():
            for path in sorted(inner.iterdir()):
                blob = f"{inner.name}{path.name}"
                if self._had(known.get(blob)) is None:
                    with suppress(FileNotFoundError):
                        known[blob] = self._keep(path)

    def _objects(
        self, settings: Settings, known: Mapping[str, KeptFile], files: dict[str, KeptFile]
    ) -> tuple[dict[str, KeptFile], dict[str, KeptFile]]:
        """The index, and every blob and part of an upload that it names."""
        url = index_url(settings.root, settings.database)
        folder = settings.root / "objects"
        for _ in range(ROUNDS):
            staged = self._copied(url, "index.db", index_schema.METADATA)
            named, parts = _named(staged)
            blobs: dict[str, KeptFile] = {}
            uploads: dict[str, KeptFile] = {}
            try:
                for blob in named:
                    blobs[blob] = self._had(known.get(blob)) or self._keep(folder / "blobs" / blob[:6] / blob[6:])
                for part in parts:
                    uploads[part] = self._prefix(folder / "staging" / part)
                files["objects/index.db"] = self._keep(staged)
                return blobs, uploads
            except FileNotFoundError:
                continue  # an object was deleted after the index was copied: the next copy does not name it
            finally:
                staged.unlink()
        raise Unavailable(
            f"Objects were deleted faster than they could be copied, {ROUNDS} times in a row: take the backup again when fewer are deleted"
        )

    # -- the rest --------------------------------------------------------------------------------------------------------------

    def _prefix(self, source: Path) -> KeptFile:
        """A file that may grow meanwhile: what it holds now."""
        staged = self._stage / "growing"
        with source.open("rb") as file, staged.open("wb") as copy:
            left = os.fstat(file.fileno()).st_size
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            while left and (piece := file.read(min(PIECE, left))):
                copy.write(piece)
                left -= len(piece)
        staged.chmod(mode | 0o400)
        try:
            return self._keep(staged)
        finally:
            staged.unlink()

    def _rest(self, root: Path) -> dict[str, KeptFile]:
        """Keys, logs, datapoints, what waits in fronts and queues, and all else that is not made again."""
        found: dict[str, KeptFile] = {}
        for path in _plain_files(root):
            name = str(path.relative_to(root))
            with suppress(FileNotFoundError):
                status = path.stat()
                had = self._had(self._before.files.get(name)) if self._before else None
                if had and (had.size, had.changed) == (status.st_size, status.st_mtime_ns):
                    found[name] = had
                elif _is_sqlite(path):
                    copy_sqlite(path, self._stage / "copy.db")
                    found[name] = self._keep(self._stage / "copy.db")
                    (self._stage / "copy.db").unlink()
                else:
                    found[name] = replace(self._prefix(path), changed=status.st_mtime_ns)
        return found


def copy_sqlite(source: Path, target: Path) -> None:
    """One moment of a SQLite file that may be in use, as a file that needs none beside it. Unavailable when it is no such file."""
    try:
        with closing(sqlite3.connect(source, timeout=30)) as reading, closing(sqlite3.connect(target)) as copy:
            reading.backup(copy)
    except sqlite3.Error as error:
        raise Unavailable(f"{source} cannot be copied: {error}") from error
    _plain(target)


def _plain(target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")


def _named(index: Path) -> tuple[list[str], list[str]]:
    """Blobs and parts of uploads that an index names."""
    tables = (index_schema.OBJECTS, index_schema.HISTORY)
    with closing(sqlite3.connect(index)) as reading:
        rows = [reading.execute(f"SELECT DISTINCT blob FROM \"{t.name}\" WHERE blob <> ''").fetchall() for t in tables]
        parts = reading.execute(f'SELECT DISTINCT file FROM "{index_schema.PARTS.name}"').fetchall()
    return sorted({row[0] for found in rows for row in found}), [row[0] for row in parts]


def _plain_files(root: Path) -> Iterator[Path]:
    for folder, inner, names in os.walk(root):
        here = Path(folder)
        inner[:] = [name for name in inner if str((here / name).relative_to(root)) not in LEFT_OUT]
        for name in names:
            path = here / name
            left_out = str(path.relative_to(root)) in LEFT_OUT or name.endswith(BESIDE) or ".db.schema-" in name
            if not left_out and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE
