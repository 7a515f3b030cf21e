"""Files and folders as blobs need them: synced, copied in the kernel, linked, named safely.

Does not know: what a blob is.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from clary.domain.errors import Invalid, NotFound

MODE = 0o444  # of everything that is finished
COPY = 64 << 20


def checked_names(keys: Mapping[str, str]) -> None:
    """Invalid, naming the key, unless every relative path (value) can be a file in one folder beside all the others."""
    folders: set[str] = set()
    for key, path in keys.items():
        parts = path.split("/")
        if any(part in ("", ".", "..") or len(part.encode()) > 255 or "\0" in part for part in parts):
            raise Invalid(
                f'The key "{key}" cannot be a file name: its path has a segment that is empty, ".", ".." or longer than 255 bytes.'
            )
        folders.update("/".join(parts[:n]) for n in range(1, len(parts)))
    clash = next((key for key, path in keys.items() if path in folders), None)
    if clash is not None:
        raise Invalid(f'The key "{clash}" cannot be a file: other keys use it as a folder.')
    if len(set(keys.values())) != len(keys):
        raise Invalid("Two keys would become the same file.")


def sync_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """What the disk of a folder has free for others than root."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def holds(path: str, body: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read() == body
    except FileNotFoundError:
        return False


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def copy_range(source: int, target: int, start: int, at: int, length: int) -> None:
    """Copy bytes between descriptors in the kernel."""
    while length > 0:
        count = os.copy_file_range(source, target, min(length, COPY), start, at)
        if count == 0:
            raise OSError(errno.EIO, "a file is shorter than its row says")
        start, at, length = start + count, at + count, length - count


def open_plain(path: str) -> int:
    """A descriptor to read a plain file by; Invalid for a symbolic link, a FIFO, a device or a folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise Invalid(f"{os.path.basename(path)} is not a plain file.") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Invalid(f"{os.path.basename(path)} is not a plain file.")
    return descriptor


def copy_file(source: str, target: str, durable: bool = False) -> None:
    """A copy with mode 0444; falls back to plain reads where the kernel can't copy between the two filesystems. Invalid when the
    source is a link or no plain file: a job may have put it there."""
    reader = open_plain(source)
    try:
        writer = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, MODE)
        try:
            size = os.fstat(reader).st_size
            try:
                copy_range(reader, writer, 0, 0, size)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                while data := os.read(reader, 1 << 20):
                    os.write(writer, data)
            if durable:
                os.fdatasync(writer)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def make_folders(root: str, name: str, made: list[str]) -> None:
    path = root
    for part in ["", *name.split("/")] if name else [""]:
        path = f"{path}/{part}" if part else path
        try:
            os.mkdir(path, 0o755)
            made.append(path)
        except FileExistsError:
            pass


def link_or_copy(source: str, target: str) -> None:
    """What an attempt that was cut off left at `target` gives way."""
    try:
        os.link(source, target)
    except FileExistsError:
        unlink(target)
        link_or_copy(source, target)
    except FileNotFoundError:
        raise NotFound(f"An object's content is missing on the disk ({os.path.basename(source)}).") from None
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        unlink(target)
        copy_file(source, target)
