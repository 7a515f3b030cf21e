"""The system-call filters of the sandbox: their source, and how the compiled file per architecture is made.

`python -m clary.backends.seccomp` writes `filters/*.bpf` again; a test compares them. Everything is allowed but what this table
refuses: what makes namespaces or mounts, looks into other processes, loads code into the kernel, or reaches kernel parts that no
training script needs and that have been a way out before.

A filter is an array of `struct sock_filter` (u16 code, u8 jump if true, u8 jump if false, u32 k), little-endian.
"""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; arguments are u64
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_X32 = 0x40000000

# clone and unshare: NEWTIME 0x80 is left out for clone, whose low byte is the child's exit signal.
_NAMESPACES = 0x7E020000
_NEW_TIME = 0x80
_AF_ALG, _AF_VSOCK = 38, 40
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

# name -> (x86_64, aarch64); None where the architecture has no such call.
REFUSED: Mapping[str, tuple[int | None, int | None]] = MappingProxyType(
    {
        # mounts and roots
        "mount": (165, 40),
        "umount2": (166, 39),
        "pivot_root": (155, 41),
        "chroot": (161, 51),
        "open_tree": (428, 428),
        "move_mount": (429, 429),
        "fsopen": (430, 430),
        "fsconfig": (431, 431),
        "fsmount": (432, 432),
        "fspick": (433, 433),
        "mount_setattr": (442, 442),
        "open_tree_attr": (467, 467),
        # namespaces (clone and unshare are judged by their flags)
        "setns": (308, 268),
        # other processes
        "ptrace": (101, 117),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "kcmp": (312, 272),
        "pidfd_getfd": (438, 438),
        # kernel keys
        "add_key": (248, 217),
        "request_key": (249, 218),
        "keyctl": (250, 219),
        # programs in the kernel, and its tracing
        "bpf": (321, 280),
        "perf_event_open": (298, 241),
        "userfaultfd": (323, 282),
        "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
        "init_module": (175, 105),
        "finit_module": (313, 273),
        "delete_module": (176, 106),
        "kexec_load": (246, 104),
        "kexec_file_load": (320, 294),
        "lookup_dcookie": (212, 18),
        # the machine
        "reboot": (169, 142),
        "swapon": (167, 224),
        "swapoff": (168, 225),
        "acct": (163, 89),
        "quotactl": (179, 60),
        "quotactl_fd": (443, 443),
        "syslog": (103, 116),
        "settimeofday": (164, 170),
        "clock_settime": (227, 112),
        "clock_adjtime": (305, 266),
        "adjtimex": (159, 171),
        "sethostname": (170, 161),
        "setdomainname": (171, 162),
        "vhangup": (153, 58),
        "iopl": (172, None),
        "ioperm": (173, None),
        "uselib": (134, None),
        "nfsservctl": (180, 42),
        "fanotify_init": (300, 262),
        "open_by_handle_at": (304, 265),
    }
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """`audit` is the kernel's AUDIT_ARCH value, `index` the column in `REFUSED`; the rest are calls judged by arguments."""

    audit: int
    index: int
    clone: int
    clone3: int
    unshare: int
    socket: int
    ioctl: int
    x32: bool = False  # has a second table of numbers, from 0x40000000 on


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "x86_64": Architecture(0xC000003E, 0, clone=56, clone3=435, unshare=272, socket=41, ioctl=16, x32=True),
        "aarch64": Architecture(0xC00000B7, 1, clone=220, clone3=435, unshare=97, socket=198, ioctl=29),
    }
)


def compile_filter(name: str) -> bytes:
    """The filter of an architecture ("x86_64", "aarch64") as the kernel loads it."""
    architecture = ARCHITECTURES[name]
    program = [
        _statement(_LOAD, _ARCHITECTURE),
        # Another architecture's numbers (32-bit code on a 64-bit kernel) would mean other calls: none is let through.
        _jump(_EQUAL, architecture.audit, 1, 0),
        _refuse(errno.ENOSYS),
        _statement(_LOAD, _NUMBER),
    ]
    if architecture.x32:
        program += [_jump(_AT_LEAST, _X32, 0, 1), _refuse(errno.ENOSYS)]
    # The C library falls back to clone, whose flags can be read here; those of clone3 lie in memory.
    program += _when(architecture.clone3, [_refuse(errno.ENOSYS)])
    program += _when(architecture.clone, _flags(0, _NAMESPACES))
    program += _when(architecture.unshare, _flags(0, _NAMESPACES | _NEW_TIME))
    program += _when(architecture.socket, _values(0, (_AF_ALG, _AF_VSOCK)))
    program += _when(architecture.ioctl, _values(1, (_TIOCSTI, _TIOCLINUX)))
    for numbers in REFUSED.values():
        number = numbers[architecture.index]
        if number is not None:
            program += _when(number, [_refuse(errno.EPERM)])
    program.append(_statement(_RETURN, _ALLOW))
    return b"".join(program)


def _statement(code: int, k: int) -> bytes:
    return struct.pack("<HBBI", code, 0, 0, k)


def _jump(code: int, k: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, k)


def _refuse(number: int) -> bytes:
    return _statement(_RETURN, _ERRNO | number)


def _when(number: int, body: list[bytes]) -> list[bytes]:
    """`body` for one system call; it ends in a return, so that the accumulator still holds the number behind it."""
    return [_jump(_EQUAL, number, 0, len(body)), *body]


def _flags(argument: int, mask: int) -> list[bytes]:
    return [
        _statement(_LOAD, _ARGUMENTS + 8 * argument),
        _jump(_ANY_BIT, mask, 0, 1),
        _refuse(errno.EPERM),
        _statement(_RETURN, _ALLOW),
    ]


def _values(argument: int, refused: Iterable[int]) -> list[bytes]:
    body = [_statement(_LOAD, _ARGUMENTS + 8 * argument)]
    for value in refused:
        body += [_jump(_EQUAL, value, 0, 1), _refuse(errno.EPERM)]
    return [*body, _statement(_RETURN, _ALLOW)]


def write(folder: Path) -> None:
    for name in ARCHITECTURES:
        (folder / f"{name}.bpf").write_bytes(compile_filter(name))


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "filters")
