"""Several hosts of one XGBoost job: they find each other through xgboost's own tracker on the first of them.

Owns the meeting: who starts the tracker, and how the others learn its port, when it listens (xgboost's own retries wait up to a
minute; a fixed port would be taken for a minute after each run). Knows nothing of data or boosting.
"""

from __future__ import annotations

import socket
import threading
import time
import zlib
from contextlib import contextmanager
from typing import Iterator, Sequence

import xgboost
from xgboost.tracker import RabitTracker

MEETING_SECONDS = 300.0  # how long hosts wait for each other
_FIRST_PORT, _PORTS = 21000, 10000
_END_SECONDS = 30  # how long the leader waits for the others to take leave


def bell_port(job: str) -> int:
    """Where the leader tells its tracker's port: one per job, since jobs may share a machine and its network."""
    return _FIRST_PORT + zlib.crc32(job.encode()) % _PORTS


@contextmanager
def joined(hosts: Sequence[str], host: str, job: str) -> Iterator[None]:
    """Within it `xgboost.collective` works over all hosts. Ranks follow the order of the hosts."""
    leader = _address(hosts[0])
    tracker = None
    if host == hosts[0]:
        tracker = RabitTracker(n_workers=len(hosts), host_ip=leader, sortby="task")
        tracker.start()
        port = int(tracker.worker_args()["dmlc_tracker_port"])
        bell = socket.create_server((leader, bell_port(job)), backlog=len(hosts))
        threading.Thread(target=_tell, args=(bell, port, len(hosts) - 1), daemon=True).start()
    else:
        port = _ask(leader, bell_port(job))
    with xgboost.collective.CommunicatorContext(
        dmlc_communicator="rabit",
        dmlc_tracker_uri=leader,
        dmlc_tracker_port=port,
        dmlc_task_id="{:04d}".format(list(hosts).index(host)),
        dmlc_timeout=int(MEETING_SECONDS),
    ):
        yield
    if tracker is not None:
        tracker.wait_for(_END_SECONDS)


def _tell(bell: socket.socket, port: int, askers: int) -> None:
    with bell:
        for _ in range(askers):
            asker, _ = bell.accept()
            with asker:
                asker.sendall(b"%d\n" % port)


def _ask(address: str, port: int) -> int:
    """The tracker's port, once the leader answers."""
    deadline = time.monotonic() + MEETING_SECONDS
    while True:
        try:
            with socket.create_connection((address, port), timeout=5) as bell, bell.makefile() as said:
                line = said.readline()
                if line.endswith("\n"):
                    return int(line)
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the first host of the job did not answer within {:g} s".format(MEETING_SECONDS))
        time.sleep(0.1)


def _address(name: str) -> str:
    deadline = time.monotonic() + MEETING_SECONDS
    while True:
        try:
            return socket.gethostbyname(name)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
