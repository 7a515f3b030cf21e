"""Blobs: immutable files, read-only from their first byte, named by us and never by a key.

Owns the folders `blobs/FOLDER/NAME` and `staging/`, what is made durable when, and the removal of what nothing names. A blob's
id is 6 + 4 hex digits: folder and name. Ids grow and are never used again; each process starts a folder of its own. Refuses to
know: the index, S3, HTTP. Errors: OSError as the system gives it (ENOSPC included), Full below the low-water mark.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from clary.domain.errors import ClaryError, Unavailable
from clary.objects.files import (
    MODE,
    copy_file,
    free_bytes,
    holds,
    link_or_copy,
    make_folders,
    sync_file,
    sync_folder,
    unlink,
    write_all,
)
from clary.objects.quarantine import Quarantine
from clary.objects.reserve import Reserve

PER_FOLDER = 4096
LINGER = 3.0  # seconds that a freed blob stays, for readers that have its name but not yet its file
TINY = 32 << 10  # up to here a row keeps the content until the blob is synced by itself
SETTLES = 40.0  # seconds after which the kernel has written a file without being asked
LEAST_FREE = 16 << 20  # below this the quarantine goes, even where no low-water mark is set
MOST_FRESH = 20_000
MOST_FRESH_BYTES = 64 << 20


class Full(ClaryError):
    """Less disk is free than the low-water mark; nothing was written."""


class Blobs:
    """Thread-safe. `settle` is called by the index's writer before each transaction and makes every blob handed out before it
    durable: middling ones are written here (one pass, fsyncs side by side), then their folders are synced. The smallest are written
    without a sync: the index keeps their content until `make_durable` has caught up with them."""

    def __init__(
        self, root: Path, low_water: int = 0, first_folder: int = 0, free: Callable[[Path], int] = free_bytes
    ) -> None:
        self.root, self._low_water, self._free_bytes = root, low_water, free
        self.staging = root / "staging"
        self._blobs = root / "blobs"
        self.quarantine = Quarantine(root / "quarantine")
        self.reserve = Reserve(root / "reserve", free)
        for folder in (root, self.staging, self._blobs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = [int(name, 16) for name in os.listdir(self._blobs) if len(name) == 6]
        self._folder = max([first_folder, *known], default=0)
        self.inherited = self._folder  # the last folder that a process before this one may have written to
        self._count = PER_FOLDER  # so that the first blob opens a new folder
        self._lock = threading.Lock()
        self._small: list[tuple[str, bytes]] = []
        self._fresh: deque[tuple[float, str, int]] = deque()  # written, not synced: (since when, blob, bytes)
        self._fresh_bytes = 0
        self._dirty: set[str] = set()
        self._freed: list[tuple[float, str]] = []
        self._checked = (0.0, 0)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="blob-sync")

    def room(self) -> int:
        """Bytes that the disk has free."""
        return self._free_bytes(self.root)

    # -- names -----------------------------------------------------------------------------------------------------------------

    def path(self, blob: str) -> str:
        return f"{self._blobs}/{blob[:6]}/{blob[6:]}"

    def _new(self, sync: bool = True) -> str:
        """The next id; its folder exists, and will be synced by the next settle if `sync`. Call it with the lock held."""
        if self._count >= PER_FOLDER:
            self._folder, self._count = self._folder + 1, 0
            os.mkdir(self._blobs / f"{self._folder:06x}", 0o700)
        self._count += 1
        if sync:
            self._dirty |= {f"{self._blobs}/{self._folder:06x}", str(self._blobs)}
        return f"{self._folder:06x}{self._count:04x}"

    # -- in --------------------------------------------------------------------------------------------------------------------

    def check_space(self, wanted: int = 0) -> None:
        """Full when the disk has less than the low-water mark free beyond `wanted` bytes. Looks at most twice a second. What is in
        quarantine goes before a write is refused."""
        if self.reserve.given_up:
            raise Full(
                f"The disk of {self.root} is full: {max(self._free_bytes(self.root), 0) >> 20} MiB are free, and deletions need them "
                f"(low_water, the setting for how much is kept free, is {self._low_water >> 20} MiB). Free some space."
            )
        at, free = self._checked
        now = time.monotonic()
        if now - at > 0.5:
            at, free = now, self._free_bytes(self.root)
        if free - wanted < self._low_water and self.make_room(wanted):
            at, free = now, self._free_bytes(self.root)
        if free - wanted < self._low_water:
            self._checked = (at, free)
            raise Full(
                f"The disk of {self.root} has {max(free, 0) >> 20} MiB free, this write takes {-(-wanted >> 20)} MiB, and "
                f"{self._low_water >> 20} MiB are kept in reserve: free some space, or lower the setting low_water."
            )
        self._checked = (at, free - wanted)  # what is let in counts until the next look

    def add(self, body: bytes) -> tuple[str, bytes | None]:
        """A small blob out of memory: it exists once `settle` has run. With it comes the content that its row must keep until it
        is durable by itself (None when it will be durable by then)."""
        tiny = len(body) <= TINY
        with self._lock:
            blob = self._new(sync=not tiny)
            self._small.append((blob, body))
        return blob, body if tiny else None

    def restore(self, bodies: Iterable[tuple[str, bytes]]) -> int:
        """After a crash: write what is missing or torn of the blobs whose rows kept their content; how many that were."""
        made = 0
        for blob, body in bodies:
            path = self.path(blob)
            if not holds(path, body):
                os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
                unlink(path)
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, MODE)
                try:
                    write_all(descriptor, body)
                finally:
                    os.close(descriptor)
                made += 1
            self._remember(0.0, blob, len(body))
            if int(blob[:6], 16) >= self._folder:  # its folder was lost with it: that name was given all the same
                self._folder, self._count = int(blob[:6], 16), PER_FOLDER
        return made

    def _remember(self, now: float, blob: str, size: int) -> None:
        with self._lock:
            self._fresh.append((now, blob, size))
            self._fresh_bytes += size

    def make_durable(self, now: float) -> list[str]:
        """Sync blobs that were written a while before `now` (monotonic seconds), or beyond what may wait; which. By then the kernel
        has mostly written them by itself, and the sync costs next to nothing."""
        done: list[str] = []
        folders: set[str] = set()
        while self._fresh and (
            self._fresh[0][0] < now - SETTLES or len(self._fresh) > MOST_FRESH or self._fresh_bytes > MOST_FRESH_BYTES
        ):
            with self._lock:
                _, blob, size = self._fresh.popleft()
                self._fresh_bytes -= size
            done.append(blob)
            path = self.path(blob)
            try:
                sync_file(path)
            except FileNotFoundError:
                continue  # deleted meanwhile
            folders.add(os.path.dirname(path))
        for folder in folders:
            sync_folder(folder)
        if folders:
            sync_folder(str(self._blobs))
        return done

    def stage(self) -> tuple[str, int]:
        """A new staging file: its path and a descriptor to write it by."""
        path = f"{self.staging}/{secrets.token_hex(16)}"
        return path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, MODE)

    def open_part(self, name: str, fresh: bool) -> tuple[str, int]:
        """A staging file of a multipart upload, which is written to again: its path and a descriptor."""
        path = f"{self.staging}/{name}"
        return path, os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if fresh else 0), 0o600)

    def drop_parts(self, names: Iterable[str]) -> None:
        for name in names:
            unlink(f"{self.staging}/{name}")

    def take(self, path: str, keep: bool = False) -> str:
        """Make a blob of a synced file on this filesystem: by rename, or (`keep`) by a second name for it."""
        with self._lock:
            blob = self._new()
        (os.link if keep else os.rename)(path, self.path(blob))
        return blob

    def again(self, blob: str) -> str:
        """A second blob with the same content: a hard link, or a copy when the filesystem allows no more links."""
        with self._lock:
            new = self._new()
        sync_file(self.path(blob))  # only the first one's row may keep the content for a crash
        try:
            os.link(self.path(blob), self.path(new))
        except OSError as error:
            if error.errno not in (errno.EMLINK, errno.EPERM):
                raise
            copy_file(self.path(blob), self.path(new), durable=True)
        return new

    def settle(self) -> dict[str, ClaryError]:
        """Answers the blobs that could not be written, with why: their rows must not be. OSError when a folder could not be
        synced: then nothing may be committed, and the next settle tries again."""
        with self._lock:
            small, self._small = self._small, []
            dirty, self._dirty = self._dirty, set()
        middling = [entry for entry in small if len(entry[1]) > TINY]
        refused = self._write_synced(middling) if middling else {}
        now = time.monotonic()
        for blob, body in small:
            if len(body) <= TINY:
                error = self._write(blob, body, sync=False)
                if error is not None:
                    refused[blob] = error
                else:
                    self._remember(now, blob, len(body))
        synced = False
        try:
            for folder in dirty:
                sync_folder(folder)
            synced = True
        finally:
            if not synced:
                with self._lock:
                    self._dirty |= dirty
        return refused

    def _write_synced(self, entries: list[tuple[str, bytes]]) -> dict[str, ClaryError]:
        errors = self._pool.map(lambda entry: self._write(entry[0], entry[1], sync=True), entries)
        return {blob: error for (blob, _), error in zip(entries, errors, strict=True) if error is not None}

    def _write(self, blob: str, body: bytes, sync: bool) -> ClaryError | None:
        path = self.path(blob)
        created = False
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, MODE)
            created = True
            try:
                write_all(descriptor, body)
                if sync:
                    os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if created:
                with suppress(OSError):  # a sweep finds it
                    os.unlink(path)
            return disk_error(error)
        return None

    # -- out -------------------------------------------------------------------------------------------------------------------

    def read(self, blob: str, start: int, length: int) -> bytes:
        descriptor = os.open(self.path(blob), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, length, start) if start else os.read(descriptor, length)
        finally:
            os.close(descriptor)

    def link(self, names: Mapping[str, str], folder: str) -> None:
        """Put blobs (path relative to `folder` -> blob) under `folder`, all or nothing: hard links, or copies on another
        filesystem. Names were checked by `checked_names`."""
        made: list[str] = []
        folders: list[str] = []
        complete = False
        try:
            for name in sorted({os.path.dirname(name) for name in names}):
                make_folders(folder, name, folders)
            for name, blob in names.items():
                target = f"{folder}/{name}"
                link_or_copy(self.path(blob), target)
                made.append(target)
            complete = True
        finally:
            if not complete:
                for path in made:
                    os.unlink(path)
                for path in reversed(folders):
                    os.rmdir(path)

    # -- away ------------------------------------------------------------------------------------------------------------------

    def free(self, blobs: Iterable[str]) -> None:
        """No row names them any more. Their files go a little later; jobs that hold a hard link keep the content."""
        due = time.monotonic() + LINGER
        with self._lock:
            self._freed += [(due, blob) for blob in blobs if blob]

    def collect(self, now: float) -> int:
        """Unlink what was freed long enough ago (`now`: monotonic seconds); how many."""
        with self._lock:
            due = [blob for at, blob in self._freed if at <= now]
            self._freed = [entry for entry in self._freed if entry[0] > now]
        for blob in due:
            unlink(self.path(blob))
        return len(due)

    def clean_staging(self, wanted: set[str]) -> int:
        """Remove staging files that no open upload names. Only before the first request."""
        orphans = [name for name in os.listdir(self.staging) if name not in wanted]
        for name in orphans:
            unlink(f"{self.staging}/{name}")
        return len(orphans)

    def folders(self) -> list[str]:
        return sorted(name for name in os.listdir(self._blobs) if len(name) == 6)

    def unnamed(self, folder: str, named: set[str]) -> tuple[int, list[str], list[str]]:
        """Of one folder: how many blobs it has, those that no row names and no running write can be about to name (a process
        before this one wrote them), and those that are named but not there."""
        there = {folder + name for name in os.listdir(f"{self._blobs}/{folder}")}
        unnamed = sorted(there - named) if int(folder, 16) <= self.inherited else []
        return len(there), unnamed, sorted(named - there)

    def remove(self, blobs: Iterable[str]) -> None:
        """Unlink blobs that are known to be deleted, and folders that are empty then."""
        for blob in blobs:
            unlink(self.path(blob))
        self._drop_empty()

    def _drop_empty(self) -> None:
        for folder in self.folders():
            if int(folder, 16) < self._folder:
                with suppress(OSError):
                    os.rmdir(self._blobs / folder)

    def set_aside(self, blobs: Iterable[str], now: float) -> None:
        """Blobs that nobody names go into quarantine (`now`: epoch seconds)."""
        self.quarantine.take({blob: self.path(blob) for blob in blobs}, now)
        self._drop_empty()

    def bring_back(self, blobs: Iterable[str]) -> list[str]:
        """Take blobs out of quarantine, since a row names them; which were there."""
        return self.quarantine.give_back({blob: self.path(blob) for blob in blobs})

    def make_room(self, wanted: int = 0) -> bool:
        """Empty the quarantine, the oldest first, until the low-water mark is free beyond `wanted` bytes; whether anything went."""
        return self.quarantine.empty(lambda: self._free_bytes(self.root) - wanted < max(self._low_water, LEAST_FREE))

    def size(self, blob: str) -> int:
        """Bytes of a blob's file; -1 when it is not there."""
        try:
            return os.stat(self.path(blob)).st_size
        except FileNotFoundError:
            return -1

    def any(self) -> bool:
        """Whether there is a blob at all."""
        return any(os.listdir(self._blobs / folder) for folder in self.folders())

    def close(self) -> None:
        self._pool.shutdown()


def disk_error(error: OSError) -> ClaryError:
    """The error for a user when the disk is full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Full(
            "The disk of the object store is full: free some space, or delete objects. (The setting low_water is how much of it "
            "is kept free.)"
        )
    return Unavailable(f"The object store cannot write: {error.strerror or error}.")
