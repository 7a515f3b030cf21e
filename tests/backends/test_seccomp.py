"""The filter is what its source says, and answers every call as meant: the program is run here instruction by instruction."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from clary.backends import seccomp
from clary.backends.seccomp import ARCHITECTURES, REFUSED, compile_filter

ALLOW = 0


def judge(program: bytes, audit: int, number: int, *arguments: int) -> int:
    """What the kernel would answer: 0 to let it through, else an errno. A small interpreter of the classic BPF that is used here."""
    padded = [*arguments, *([0] * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", number, audit, 0, *padded)
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, k = code[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = struct.unpack_from("<I", data, k)[0]
            case 0x15:
                at += if_true if accumulator == k else if_false
            case 0x35:
                at += if_true if accumulator >= k else if_false
            case 0x45:
                at += if_true if accumulator & k else if_false
            case 0x06:
                return ALLOW if k == 0x7FFF0000 else k & 0xFFFF
            case _:
                raise AssertionError(f"operation {operation:#x}")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_checked_in_as_compiled(name: str) -> None:
    folder = Path(seccomp.__file__).parent / "filters"
    assert (folder / f"{name}.bpf").read_bytes() == compile_filter(name), "run python -m clary.backends.seccomp"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_refused(name: str) -> None:
    architecture, program = ARCHITECTURES[name], compile_filter(name)
    for call, numbers in REFUSED.items():
        number = numbers[architecture.index]
        if number is not None:
            assert judge(program, architecture.audit, number) == errno.EPERM, call
    special = {architecture.clone, architecture.clone3, architecture.unshare, architecture.socket, architecture.ioctl}
    refused = {numbers[architecture.index] for numbers in REFUSED.values()}
    for number in range(600):
        if number not in refused | special:
            assert judge(program, architecture.audit, number) == ALLOW


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_depends_on_arguments(name: str) -> None:
    architecture, program = ARCHITECTURES[name], compile_filter(name)

    def said(number: int, *arguments: int) -> int:
        return judge(program, architecture.audit, number, *arguments)

    thread = 0x3D0F00  # what the C library's pthread_create asks for
    for flags in (17, thread, 0x01200011):
        assert said(architecture.clone, flags) == ALLOW
    for namespace in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert said(architecture.clone, namespace | 17) == errno.EPERM
        assert said(architecture.unshare, namespace) == errno.EPERM
    assert said(architecture.unshare, 0x80) == errno.EPERM
    assert said(architecture.unshare, 0x400) == ALLOW  # its own table of files
    assert said(architecture.clone3) == errno.ENOSYS
    assert [said(architecture.socket, family) for family in (1, 2, 10, 16)] == [ALLOW] * 4
    assert [said(architecture.socket, family) for family in (38, 40)] == [errno.EPERM] * 2
    assert said(architecture.ioctl, 0, 0x5401) == ALLOW
    assert said(architecture.ioctl, 0, 0x5412) == errno.EPERM


def test_other_tables_of_numbers_are_shut() -> None:
    x86, arm = ARCHITECTURES["x86_64"], ARCHITECTURES["aarch64"]
    program = compile_filter("x86_64")
    assert judge(program, x86.audit, 0x40000000 | 39) == errno.ENOSYS
    assert judge(program, 0x40000003, 20) == errno.ENOSYS  # 32-bit code
    assert judge(program, arm.audit, 20) == errno.ENOSYS
