"""A sandbox that waits for its run: what its shim listens on, and how it is given away.

Who has a run for it connects to FOLDER/hand and sends the run's folder with two descriptors: the run's lock, and what hears of the
start (`ask`). The shim then puts the run's folders into the sandbox, tells the interpreter inside what to run, and is the shim of that
run from then on. Once a sandbox was touched and something failed, it is ended: nobody else may have it.
"""

from __future__ import annotations

import _socket  # the module around it takes 40 ms to import
import fcntl
import os

NAME = "hand"
ORDER = "order.json"  # in the folder of a run that is given to a sandbox: its command, environment and folder; it holds secrets
ORDER_BYTES = 1 << 20  # an order that fits into the pipe never waits for who reads it
_LARGEST = 4096


def listen(folder: str) -> int:
    """A socket that takes one run."""
    with _Short(folder) as path:
        ours = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        ours.bind(path)
        ours.listen(1)
        return ours.detach()


def accept(listening: int) -> tuple[str, int, int] | None:
    """What somebody asks for: the folder of the run, its lock, and what hears of the start. None: nobody asks, or with other words."""
    ours = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fcntl.fcntl(listening, fcntl.F_DUPFD_CLOEXEC, 10))
    try:
        talk = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, ours._accept()[0])  # type: ignore[attr-defined]
        try:
            talk.settimeout(5.0)
            words, extras, _, _ = talk.recvmsg(_LARGEST, _socket.CMSG_SPACE(8), _socket.MSG_CMSG_CLOEXEC)
        finally:
            talk.close()
    except OSError:
        return None
    finally:
        ours.close()
    fds = [int.from_bytes(data[at : at + 4], "little") for _, _, data in extras for at in range(0, len(data) - 3, 4)]
    if words and len(fds) == 2:
        return os.fsdecode(words), fds[0], fds[1]
    for fd in fds:
        os.close(fd)
    return None


def ask(standby: str, folder: str, lock: int, told: int) -> bool:
    """Give a run to the sandbox whose shim has the folder `standby`. False: nobody listens there any more."""
    try:
        with _Short(standby) as path:
            talk = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
            try:
                talk.settimeout(5.0)
                talk.connect(path)
                rights = lock.to_bytes(4, "little") + told.to_bytes(4, "little")
                talk.sendmsg([os.fsencode(folder)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
            finally:
                talk.close()
    except OSError:
        return False
    return True


def order_pipe() -> tuple[int, int]:
    """What the interpreter reads its order from, and what the shim writes it to."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, ORDER_BYTES)
    return reading, writing


def tell(order: int, folder: str) -> None:
    """Give the run's order to the interpreter. The pipe is closed: an order ends with it."""
    path = os.path.join(folder, ORDER)
    with open(path, "rb") as file:
        words = file.read()
    os.unlink(path)
    try:
        while words:
            words = words[os.write(order, words) :]
    finally:
        os.close(order)


class _Short:
    """The path of the socket in a folder, in the few bytes that an address may have."""

    def __init__(self, folder: str) -> None:
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._folder}/{NAME}"

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)
