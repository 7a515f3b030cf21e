"""Reading what a job wrote, from outside its sandbox: no symbolic link is ever followed, nothing but regular files is opened.

A job owns the folders that are mounted writable for it and may put anything there, links and FIFOs included.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def opened(root: str, relative: str) -> Iterator[int]:
    """A descriptor of the regular file `relative` below `root`. OSError (ELOOP, ENOTDIR, ENOENT, EINVAL) for anything else."""
    *folders, name = relative.split("/")
    if ".." in (*folders, name) or relative.startswith("/"):
        raise OSError(errno.EINVAL, f"{relative} does not lie below its folder")
    here = os.open(root, _FOLDER)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        descriptor = os.open(name, _FILE, dir_fd=here)
    finally:
        os.close(here)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{relative} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def read_text(root: str, relative: str, limit: int) -> str:
    """At most `limit` bytes of it, invalid UTF-8 replaced; '' when it is not there or no regular file."""
    return read_bytes(root, relative, limit).decode("utf-8", "replace")


def read_bytes(root: str, relative: str, limit: int) -> bytes:
    """The same as it is."""
    try:
        with opened(root, relative) as descriptor:
            return os.read(descriptor, limit)
    except OSError:
        return b""


def utf8(data: bytes, limit: int) -> str | None:
    """At most `limit` bytes that were read, as a text; None when they are not UTF-8. A character that the limit cuts is left out."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=len(data) < limit)
    except UnicodeDecodeError:
        return None


def texts(root: str, limit: int) -> Callable[[str], str]:
    """`read_text` of that folder's files."""
    return lambda relative: read_text(root, relative, limit)


def walk(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """(relative path, lstat) of every regular file below `root`. What vanishes meanwhile is passed over."""
    for folder, _, names, descriptor in os.fwalk(root, follow_symlinks=False):
        below = os.path.relpath(folder, root)
        for name in names:
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield (name if below == "." else f"{below}/{name}"), found


def walk_below(root: str, path: str) -> Iterator[tuple[str, os.stat_result]]:
    """The same below the folder `path` of it ('': all), as paths below `root`. None where a link or something else is in its place."""
    here = root
    for part in path.split("/") if path else ():
        here = os.path.join(here, part)
        if part in ("", ".", "..") or os.path.islink(here) or not os.path.isdir(here):
            return
    for name, found in walk(here):
        yield (f"{path}/{name}" if path else name), found


def plain_files(root: str, path: str, count: int, limit: int) -> list[tuple[str, os.stat_result, bytes]] | None:
    """(path relative to the folder `path` of `root`, what it is, content) of every file there, none for a folder that is not there. None
    where they are more than `count` with their folders, or larger than `limit` bytes together; where one is a link or anything else that
    is no file; where one cannot be read."""
    found: list[tuple[str, os.stat_result, bytes]] = []
    left = [count, limit]
    try:
        top = os.open(root, _FOLDER)
        try:
            for part in path.split("/") if path else ():
                if part in ("", ".", ".."):
                    return None
                below = os.open(part, _FOLDER, dir_fd=top)
                os.close(top)
                top = below
        except FileNotFoundError:
            return []
        else:
            return found if _take(top, "", found, left) else None
        finally:
            os.close(top)
    except OSError:
        return None


def _take(folder: int, start: str, found: list[tuple[str, os.stat_result, bytes]], left: list[int]) -> bool:
    """Add what is in the folder; False where that is not all."""
    with os.scandir(folder) as entries:
        for entry in entries:
            left[0] -= 1
            mode = entry.stat(follow_symlinks=False).st_mode
            if left[0] < 0 or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or not _is_text(entry.name):
                return False
            descriptor = os.open(entry.name, _FOLDER if stat.S_ISDIR(mode) else _FILE, dir_fd=folder)
            try:
                if stat.S_ISDIR(mode):
                    if not _take(descriptor, f"{start}{entry.name}/", found, left):
                        return False
                    continue
                state = os.fstat(descriptor)
                left[1] -= state.st_size
                if left[1] < 0 or not stat.S_ISREG(state.st_mode):
                    return False
                content = os.read(descriptor, state.st_size + 1)
                if len(content) != state.st_size:
                    return False
                found.append((start + entry.name, state, content))
            finally:
                os.close(descriptor)
    return True


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8
        return False
    return True


def link(root: str, relative: str, target: str) -> None:
    """A second name of a file of a run that has ended, or a copy where there can be none."""
    with opened(root, relative) as descriptor:
        with suppress(FileNotFoundError):
            os.unlink(target)
        try:
            # A file is named through its descriptor, whatever became of its path; given a folder, Python lets the kernel follow that link.
            os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor, follow_symlinks=True)
        except OSError:
            copy(root, relative, target)


def copy(root: str, relative: str, target: str) -> None:
    """Copy a file out, to a path of our own."""
    with opened(root, relative) as descriptor, open(target, "wb") as to:
        while True:
            if os.sendfile(to.fileno(), descriptor, None, 1 << 24) == 0:
                return
