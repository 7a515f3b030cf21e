"""A zygote's workers, forked in this process: see `clary.toolkit.staff`."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator

import pytest

from clary.toolkit.staff import Staff


@pytest.fixture
def deaf() -> Iterator[None]:
    """A process that notes SIGTERM and goes on, as a zygote does."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("deaf")
def test_a_worker_that_is_dismissed_before_it_has_begun_ends() -> None:
    """SIGTERM between the fork and the worker's own handler was lost: the replica then waited out the 25 s of a drain."""
    held, release = os.pipe()
    forked, begun = os.pipe()

    def begin() -> None:
        os.write(begun, b"+")
        os.read(held, 1)  # nobody writes: without the signal it waits for ever

    staff = Staff({"replica": "r-1", "token": "t"}, ["unix:/nowhere"], begin)
    staff.handler = object()  # type: ignore[assignment]  # loaded already; no worker gets as far as to use it
    staff.fill()
    assert staff.count() == 1
    os.read(forked, 1)
    staff.dismiss()
    pid = next(iter(staff._members))
    try:
        assert _ends(pid), "SIGTERM was lost"
        assert [(who, code) for who, code, _ in staff.reap()] == [(pid, -signal.SIGTERM)]
        assert staff.count() == 0
    finally:
        for descriptor in (held, release, forked, begun):
            os.close(descriptor)


def _ends(pid: int) -> bool:
    """Whether that child ends within 10 s; it is killed if it does not."""
    descriptor = os.pidfd_open(pid)
    try:
        if select.select([descriptor], [], [], 10)[0]:
            return True
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return False
    finally:
        os.close(descriptor)
