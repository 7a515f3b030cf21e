"""The state folder and the folder of sockets: who owns them, how they are made, and the lock that keeps a second Clary out."""

from __future__ import annotations

import errno
import fcntl
import grp
import json
import os
import pwd
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clary.app.settings import Settings
from clary.domain.endpoints.replicas import replica_key
from clary.domain.errors import Unavailable

STATE = (
    "keys",
    "objects",
    "run",
    "jobs",
    "environments",
    "datapoints",
    "logs",
    "logs/clary",
    "fronts",
    "backend",
    "async",
)
FORMER = ("days",)  # of earlier versions, and read by nobody: the datapoints have the same load
ELSE = ("clary.toml", "clary.lock", "records.db", "models", "sdk", "edge", "bindings.json")
OWN = frozenset(
    {*STATE, *FORMER, *ELSE, "replicas"}
)  # the last: an earlier version laid those out there that still run
EPHEMERAL = ".ephemeral"  # marks a folder that began empty and may be forgotten
BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Edge:
    """Whom nginx's workers run as. Not root: they parse what strangers send."""

    user: str
    uid: int
    gid: int


def edge_user() -> Edge | None:
    """None when Clary is not root: nginx then runs as the same user."""
    if os.geteuid() != 0:
        return None
    for name in ("www-data", "nginx", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Edge(f"{name} {grp.getgrgid(entry.pw_gid).gr_name}", entry.pw_uid, entry.pw_gid)
    raise Unavailable("no user for nginx's workers: make one, such as 'nobody'")


def claim(settings: Settings) -> None:
    """Before anything is written: the folder must be Clary's own, and when it shall be forgotten, have held nothing before.
    Unavailable otherwise. A home folder named by mistake is neither closed to others nor, at the end, removed."""
    root, mark = settings.root, settings.root / EPHEMERAL
    if holding(root / "clary.lock") is not None:
        return  # the process that holds it has checked it; `Lock.take` says which one
    with _as_state_folder(root):
        held = {entry.name for entry in root.iterdir() if not entry.name.startswith(".")} if root.exists() else set()
        held -= {"lost+found"}
        if settings.ephemeral and held - {"clary.toml"} and not mark.exists():
            raise Unavailable(
                f"--ephemeral deletes {root} when Clary stops, and it is in use: --dir names a new folder"
            )
        if held and not held & OWN:
            raise Unavailable(f"{root} holds other files, such as {min(held)}: --dir names a folder for Clary alone")
        if settings.ephemeral:
            root.mkdir(parents=True, exist_ok=True)
            mark.touch()
        else:
            mark.unlink(missing_ok=True)


def forget(settings: Settings) -> None:
    """Remove an ephemeral state folder; a clary.toml that somebody wrote stays, and so does a folder that was not marked."""
    if not (settings.root / EPHEMERAL).exists():
        return
    if not (settings.root / "clary.toml").exists():
        shutil.rmtree(settings.root, ignore_errors=True)
        return
    for entry in settings.root.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != "clary.toml":
            entry.unlink()


@contextmanager
def _as_state_folder(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{root} cannot be the state folder: {error.strerror}; --dir names another") from error


def prepare_root(settings: Settings) -> None:
    """The state folder (0700) and what is in it. Idempotent."""
    with _as_state_folder(settings.root):
        settings.root.mkdir(parents=True, exist_ok=True)
        settings.root.chmod(0o700)
        for name in STATE:
            (settings.root / name).mkdir(exist_ok=True)
        for name in FORMER:
            shutil.rmtree(settings.root / name, ignore_errors=True)
        (settings.root / "keys").chmod(0o700)


def make(settings: Settings) -> None:
    """The state folder, and the folder of sockets made again."""
    prepare_root(settings)
    run, edge = settings.run, edge_user()
    _empty(run, keep="workers")
    for folder, mode in ((run / "workers", 0o755), (run / "ctl", 0o700)):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
    shutil.rmtree(settings.spool, ignore_errors=True)
    settings.spool.mkdir(mode=0o700, parents=True)
    if edge is None:
        run.chmod(0o700)
        return
    # Set-group-id: the sockets that control plane and objects bind themselves get nginx's group too.
    os.chown(run, 0, edge.gid)
    run.chmod(0o2710)
    os.chown(settings.spool, edge.uid, edge.gid)


# -- records that should be there ----------------------------------------------------------------------------------------------


def check_records(settings: Settings) -> None:
    """Before any child starts, in a folder that `make` made: Unavailable when the records are gone and the folder tells of some. Where
    there may be none, the control plane is told so, until it has made them."""
    if settings.new_records or not holdings(settings.root):
        _may_begin(settings).touch()
        return
    file = settings.root / "records.db"
    if not settings.database and not (file.is_file() and file.stat().st_size):
        raise Unavailable(refusal(settings))


def refusal(settings: Settings) -> str:
    """What to say instead of beginning with no records; "" where that is right."""
    held = holdings(settings.root)
    if not held or _may_begin(settings).exists():
        return ""
    where = "the database of the setting `database`" if settings.database else str(settings.root / "records.db")
    advice = "Does `database` name the right one?" if settings.database else "Put records.db (and records.db-wal) back."
    return (
        f"There are no records in {where}, but {held} in {settings.root}: all that Clary knows of jobs, models and endpoints would be "
        f"forgotten. {advice} `clary up --new-records{settings.dir_option}` begins with none. Nothing was changed."
    )


def have_records(settings: Settings) -> None:
    """There are records: from now on it is wrong when there are none."""
    _may_begin(settings).unlink(missing_ok=True)


def holdings(root: Path) -> str:
    """What a state folder holds that records tell of, in words; "" when it holds nothing."""
    found = []
    replicas = [*_entries(root / "replicas"), *(root / "backend" / "own").glob(f"{replica_key('')}*")]
    for entries, noun in ((_entries(root / "jobs"), "job"), (replicas, "replica")):
        count = sum(1 for entry in entries if entry.is_dir())
        if count:
            found.append(f"{count} {noun}{'s' if count > 1 else ''}")
    if any(next(_entries(folder), None) for folder in _entries(root / "objects" / "blobs")):
        found.append("objects")
    if not found and (root / "records.db.commits").exists():
        found.append("a count of their writes")
    return ", ".join(found)


def _entries(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        yield from folder.iterdir()


def _may_begin(settings: Settings) -> Path:
    return settings.run / "new-records"


def remove_run(settings: Settings) -> None:
    """Nothing runs any more: the folder of sockets goes, and what the edge had on its way."""
    shutil.rmtree(settings.run, ignore_errors=True)
    shutil.rmtree(settings.spool, ignore_errors=True)


def _empty(folder: Path, keep: str) -> None:
    """What a killed Clary left is removed. The sub-folder `keep` is emptied but stays the same folder: replicas that still run have it
    mounted, and find the new sockets in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink() and entry.name == keep:
            for left in entry.iterdir():
                left.unlink()
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


class Lock:
    """One Clary per state folder. The file tells who holds it; the kernel's lock, not the file, decides."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.root / "clary.lock"
        self._down = f"clary down{settings.dir_option}"
        self._file: int | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def take(self, facts: dict[str, object]) -> None:
        """Unavailable when another process holds it; names that process."""
        with _as_state_folder(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            holder = holding(self._path)
            who = f"pid {holder['pid']} at {holder['endpoint']}" if holder else "another process"
            raise Unavailable(
                f"{self._path.parent} is in use by {who}: `{self._down}` stops it, --dir names another folder"
            ) from None
        self._file = file
        self.tell(facts)

    def tell(self, facts: dict[str, object]) -> None:
        """What `clary status` and `clary down` read: pid, endpoint."""
        assert self._file is not None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(facts).encode(), 0)

    def drop(self) -> None:
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None


def holding(path: Path) -> dict[str, object] | None:
    """Facts of the Clary that holds the lock file, or None when nobody does."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(ValueError):
            return dict(json.loads(os.pread(file, 65536, 0)))
        return None
    finally:
        os.close(file)
    return None


def listen_tcp(host: str, port: int, advice: str = "") -> socket.socket:
    """A listener of ours: the edge's, handed to nginx, or with `advice` another one. Unavailable names who has the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen(BACKLOG)
        listener.setblocking(
            False
        )  # nginx takes inherited sockets as they are: with a blocking one its worker hangs in accept
    except OSError as error:
        listener.close()
        about_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        port_advice, host_advice = "--port takes another, 0 picks a free one", "--host takes an address of this machine"
        advice = advice or (port_advice if about_port else host_advice)
        raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror}{_holder(port)}; {advice}") from None
    return listener


def _holder(port: int) -> str:
    import psutil

    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr[1] == port
                and connection.pid
            ):
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def listen_unix(path: Path, mode: int) -> socket.socket:
    """A socket that the supervisor keeps: while its reader restarts, connections wait in the backlog."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(mode)
    listener.listen(BACKLOG)
    return listener
