"""A replica as processes: a zygote that forks workers, with a "model" that does what the body says. For tests that kill.

Run: `python fake_replica.py SOCKET REPLICA TOKEN WORKERS BATCH [JOURNAL]`. Bodies: `crash` ends the worker by SIGKILL, `hang` never
answers, `sleep N` answers after N seconds, `fail TEXT` is a 500; everything else is echoed. Each prediction begun is a line of the
journal. It keeps the rule of frames.py: when the zygote's connection ends without REDIAL, busy workers are killed first.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "src"))

from clary.toolkit import frames

SOCKET, REPLICA, TOKEN = sys.argv[1:4]
WORKERS, BATCH = int(sys.argv[4]), int(sys.argv[5])
JOURNAL = sys.argv[6] if len(sys.argv) > 6 else ""
META = frames.result_meta("text/csv")
BUSY = mmap.mmap(-1, 256)


def dial(role: str, pid: int) -> frames.Channel:
    delay = 0.01
    while True:
        try:
            channel = frames.Channel.dial(f"unix:{SOCKET}")
            channel.greet(role, REPLICA, TOKEN, pid)
            return channel
        except (OSError, frames.Closed):
            time.sleep(delay)
            delay = min(0.2, delay * 2)


def predict(request: frames.Request) -> tuple[int, int, bytes, bytes]:
    if JOURNAL:
        with open(JOURNAL, "ab") as file:
            file.write(request.body[:80] + b"\n")
    word, _, rest = request.body.partition(b" ")
    if word == b"crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == b"hang":
        time.sleep(3600)
    if word == b"sleep":
        time.sleep(float(rest.split()[0]))
    if word == b"fail":
        return request.id, 500, META, rest
    return request.id, 200, META, request.body


def work(slot: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        channel = dial("worker", os.getpid())
        try:
            while True:
                kind, count, payload = channel.read()
                if kind == frames.PREDICT:
                    BUSY[slot] = 1
                    answer = frames.results([predict(r) for r in frames.requests(payload, count)])
                    BUSY[slot] = 0
                    channel.send(answer)
                elif kind == frames.DRAIN:
                    os._exit(0)
                elif kind == frames.REDIAL:
                    break
        except frames.Closed:
            BUSY[slot] = 0
        channel.close()


class Zygote:
    def __init__(self) -> None:
        self.slots: dict[int, int] = {}
        self.wanted = WORKERS

    def fork(self) -> None:
        slot = next(n for n in range(256) if n not in self.slots.values())
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no worker outlives its zygote
            work(slot)
            os._exit(0)
        BUSY[slot] = 0
        self.slots[pid] = slot

    def fill(self) -> None:
        while len(self.slots) < self.wanted:
            self.fork()

    def reap(self) -> None:
        while self.slots:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self.slots.pop(pid, None)

    def kill(self, pid: int) -> None:
        if pid in self.slots:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            del self.slots[pid]

    def run(self) -> None:
        while True:
            channel = dial("zygote", os.getpid())
            channel.send(frames.control(frames.READY, {"seconds": 0.1, "mode": "fork", "batch": BATCH}))
            self.fill()
            if not self.listen(channel):
                for pid, slot in list(self.slots.items()):
                    if BUSY[slot]:
                        self.kill(pid)
            channel.close()

    def listen(self, channel: frames.Channel) -> bool:
        """Until the connection ends; True when the front said so first."""
        draining = False
        while True:
            if not channel.pending() and not select.select([channel], [], [], 0.02)[0]:
                self.reap()
                if draining and not self.slots:
                    os._exit(0)
                if not draining:
                    self.fill()
                continue
            try:
                kind, _, payload = channel.read()
            except frames.Closed:
                return False
            if kind == frames.KILL:
                self.kill(int(frames.message(payload)["pid"]))
                self.fill()
            elif kind == frames.PING:
                channel.send(frames.control(frames.PONG))
            elif kind == frames.SPAWN:
                self.wanted = int(frames.message(payload)["workers"])
            elif kind == frames.DRAIN:
                draining = True
            elif kind == frames.REDIAL:
                return True


if __name__ == "__main__":
    if os.environ.get("FAKE_LOADS") == "no":
        broken = dial("zygote", os.getpid())
        broken.send(frames.control(frames.FAILED, {"message": "Traceback ...\nValueError: no model", "kind": "load"}))
        time.sleep(0.5)
        sys.exit(1)
    Zygote().run()
