"""Small JSON files of a run, written atomically."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False  # typing itself takes longer to import than all the rest
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]


def save(folder: str, name: str, value: Record, reserved: int = 0) -> None:
    """Whole or not at all, and there after a power cut. `reserved`: bytes set aside before by `reserve`."""
    path = os.path.join(folder, name)
    fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        data = json.dumps(value).encode().ljust(reserved)
        os.write(fd, data)
        os.ftruncate(fd, len(data))
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(path + ".new", path)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def note(folder: str, name: str, value: Record) -> None:
    """Whole or not at all, for what is soon written again: it need not outlive a power cut. A full disk keeps the old one."""
    path = os.path.join(folder, name)
    try:
        with open(path + ".new", "wb") as file:
            file.write(json.dumps(value).encode())
        os.rename(path + ".new", path)
    except OSError:
        return


def reserve(folder: str, name: str, size: int) -> None:
    fd = os.open(os.path.join(folder, name + ".new"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)


def load(folder: str, name: str) -> Record | None:
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return parse(file.read())
    except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError):
        return None


def parse(data: bytes) -> Record:
    value: Record = json.loads(data)
    return value
