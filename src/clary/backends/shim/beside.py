"""A container beside the sandbox, run by the host's engine: started, entered (its network), ended. Knows nothing of what it does.

The engine is the user's program: it runs outside the sandbox, in a session of its own, its output in the same log.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from clary.backends.shim.records import Record

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_LOOK_SECONDS = 0.05
_END_SECONDS = 60.0


def start(beside: Record, pipe: int) -> int:
    """Run the container; the pid of the engine's client, which ends with it. What a killed shim left under that name goes first."""
    pid = os.fork()
    if pid == 0:
        _become(beside, pipe)
    return pid


def _become(beside: Record, pipe: int) -> NoReturn:
    try:
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        remove(beside)
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        os.execve(beside["run"][0], beside["run"], beside["env"])
    except OSError as error:
        os.write(pipe, b"clary: cannot run the container: %s\n" % str(error).encode())
    finally:
        os._exit(126)


def enter_network(beside: Record) -> None:
    """In the sandbox's process, before it is one: wait until the container lives, and be where its ports are. The shim ends this process
    when the container ends before."""
    import ctypes  # only those who have a container wait for these imports
    import subprocess

    while True:
        done = subprocess.run(
            beside["inspect"], env=beside["env"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
        words = done.stdout.split()
        pid = int(words[0]) if done.returncode == 0 and words and words[0].isdigit() else 0
        try:
            descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC) if pid else -1
        except FileNotFoundError:  # it has just ended, as the shim will see
            descriptor = -1
        if descriptor >= 0:
            break
        time.sleep(_LOOK_SECONDS)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _NEW_NETWORK) != 0:
        code = ctypes.get_errno()
        raise OSError(code, "cannot enter the container's network: " + os.strerror(code))
    os.close(descriptor)


def end(beside: Record, seconds: float) -> None:
    """SIGTERM, so many seconds, SIGKILL; gone when this returns."""
    if seconds >= 1:
        _quietly([*beside["stop"], str(int(seconds)), beside["name"]], beside, seconds)
    remove(beside)


def remove(beside: Record) -> None:
    _quietly(beside["remove"], beside, 0)


def _quietly(argv: list[str], beside: Record, seconds: float) -> None:
    import subprocess

    try:
        subprocess.run(
            argv,
            env=beside["env"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=seconds + _END_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return  # the engine is gone or hangs: there is nothing else to ask
