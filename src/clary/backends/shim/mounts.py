"""Mounts folders in a sandbox that runs already, as they would have been mounted when it was made. For root alone.

`attach` makes each mount detached, in a process and a mount namespace of its own where the host's folders are in reach, then enters the
sandbox's and puts it in its place: nothing of the host can be seen from inside in between, and no right is left there. Needs
open_tree(2), move_mount(2) and mount_setattr(2): Linux 5.12.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing itself takes longer to import than all the rest
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from clary.backends.shim.records import Record

_NEW_MOUNTS = 0x20000  # CLONE_NEWNS
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on every machine but alpha
_CLONE, _CLOEXEC, _RECURSIVE, _EMPTY_PATH = 1, 0o2000000, 0x8000, 0x1000
_FROM_EMPTY_PATH = 4
_READ_ONLY, _NO_SETUID, _NO_DEVICES = 1, 2, 4  # MOUNT_ATTR_*
_PRIVATE, _ALL_BELOW = 1 << 18, 1 << 14  # MS_PRIVATE, MS_REC
_HERE = -100  # AT_FDCWD
_LONGEST = 4096  # bytes of what a failure says


def attach(pid: int, wanted: Sequence[Record], layers: str) -> str:
    """Mount in the namespace of process `pid` what is `wanted`: `source`, `target`, `mode` (ro, rw, overlay), and of an overlay `size`,
    the bytes that it may take; in this order. `layers`: an empty folder of the host's to build overlays on. Answers why it cannot be;
    what was mounted until then stays, so that the sandbox is good for nothing any more."""
    said, saying = os.pipe()
    child = os.fork()
    if child == 0:
        _work(pid, wanted, layers, saying)
    os.close(saying)
    words = b""
    while piece := os.read(said, _LONGEST):
        words += piece
    os.close(said)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return words.decode("utf-8", "replace") or (f"its mounts were not made: exit code {status}" if status else "")


def _work(pid: int, wanted: Sequence[Record], layers: str, saying: int) -> NoReturn:
    try:
        libc = _libc()
        inside = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        _checked(libc.unshare(_NEW_MOUNTS), "no mount namespace")
        _mount(libc, "none", "/", "", _PRIVATE | _ALL_BELOW, "")
        trees = [_tree(libc, each, f"{layers}/{number}") for number, each in enumerate(wanted)]
        _checked(libc.setns(inside, _NEW_MOUNTS), "cannot enter the sandbox")
        os.umask(0o022)
        for (tree, folder), each in zip(trees, wanted, strict=True):
            _place(libc, tree, folder, each["target"])
        os._exit(0)
    except OSError as error:
        os.write(saying, str(error).encode()[:_LONGEST])
    finally:
        os._exit(1)


def _tree(libc: Any, wanted: Record, layer: str) -> tuple[int, bool]:
    """A detached mount, and whether it is of a folder."""
    source = wanted["source"]
    if wanted["mode"] == "overlay":
        source = _overlaid(libc, source, layer, int(wanted["size"]))
    tree = libc.syscall(_OPEN_TREE, _HERE, source.encode(), _CLONE | _CLOEXEC | _RECURSIVE)
    _checked(tree, f"cannot take {source}")
    attributes = _NO_SETUID | _NO_DEVICES | (_READ_ONLY if wanted["mode"] == "ro" else 0)
    _set(libc, tree, attributes, source)
    return tree, os.path.isdir(source)


def _overlaid(libc: Any, source: str, layer: str, size: int) -> str:
    """An overlay over a folder, whose upper layer goes with it. Its root is open to the sandbox's user, as bwrap's is made."""
    os.makedirs(layer)
    _mount(libc, "tmpfs", layer, "tmpfs", 0, f"size={size},mode=0755")
    for name in ("upper", "work", "top"):
        os.mkdir(f"{layer}/{name}", 0o755)
    lower = source.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
    options = f"lowerdir={lower},upperdir={layer}/upper,workdir={layer}/work"
    _mount(libc, "overlay", f"{layer}/top", "overlay", 0, options)
    os.chmod(f"{layer}/top", 0o777)
    return f"{layer}/top"


def _place(libc: Any, tree: int, folder: bool, target: str) -> None:
    if folder:
        os.makedirs(target, 0o755, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    done = libc.syscall(_MOVE_MOUNT, tree, b"", _HERE, target.encode(), _FROM_EMPTY_PATH)
    _checked(done, f"cannot mount {target}")


def _set(libc: Any, tree: int, attributes: int, source: str) -> None:
    import ctypes

    asked = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)  # struct mount_attr
    done = libc.syscall(_MOUNT_SETATTR, tree, b"", _EMPTY_PATH | _RECURSIVE, asked, ctypes.sizeof(asked))
    _checked(done, f"cannot restrict {source}")


def _mount(libc: Any, source: str, target: str, kind: str, flags: int, options: str) -> None:
    import ctypes

    words = [text.encode() for text in (source, target, kind)]
    _checked(libc.mount(*words, ctypes.c_ulong(flags), options.encode()), f"cannot mount {target}")


def _libc() -> Any:
    import ctypes  # takes milliseconds: only those who need it wait

    return ctypes.CDLL(None, use_errno=True)


def _checked(answer: int, what: str) -> None:
    if answer < 0:
        import ctypes

        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
