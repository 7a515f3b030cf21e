"""What `docs/operate.md` needs of systemd, for one unit of `Type=notify`: enable --now, start, stop, reload, daemon-reload.

`python systemctl.py FOLDER COMMAND...`: units are in FOLDER/etc/systemd/system, the journal is FOLDER/journal. It reads the unit as systemd
does, and fails on what it does not know: that would not be tested by it.
"""

from __future__ import annotations

import os
import resource
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

WITHIN = 120.0  # seconds for a start: TimeoutStartSec of 90 s, on a busy machine
READ = {"Environment", "ExecStart", "ExecReload", "LimitNOFILE", "TimeoutStopSec"}
GIVEN = {
    ("Type", "notify"),
    ("KillMode", "process"),
    ("Delegate", "yes"),
    ("Restart", "on-failure"),
    ("RestartSec", "2"),
}


class Unit:
    """`NAME.service`, and the process that was started of it."""

    def __init__(self, machine: Path, name: str) -> None:
        self._machine, self._pid = machine, machine / f"{name}.pid"
        lines = (machine / "etc/systemd/system" / f"{name}.service").read_text().splitlines()
        service = lines[lines.index("[Service]") + 1 : lines.index("[Install]")]
        self.said = dict(line.split("=", 1) for line in service if line)
        unknown = set(self.said) - READ - {key for key, _ in GIVEN}
        different = {(key, value) for key, value in self.said.items() if key not in READ} - GIVEN
        if unknown or different:
            raise SystemExit(f"not known here: {unknown or different}")

    def start(self) -> None:
        files = int(self.said["LimitNOFILE"])
        heard = self._machine / "notify"
        heard.unlink(missing_ok=True)
        given = {"PATH": os.defpath, "HOME": os.environ["HOME"], "NOTIFY_SOCKET": str(heard)}
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
            (self._machine / "journal").open("ab") as journal,
        ):
            manager.bind(str(heard))
            process = subprocess.Popen(
                shlex.split(self.said["ExecStart"]),
                env={**given, **dict([self.said["Environment"].split("=", 1)])},
                stdin=subprocess.DEVNULL,
                stdout=journal,
                stderr=journal,
                start_new_session=True,
                cwd="/",
                preexec_fn=lambda: resource.setrlimit(
                    resource.RLIMIT_NOFILE, (min(files, _most()), min(files, _most()))
                ),
            )
            self._pid.write_text(str(process.pid))
            ended, deadline = os.pidfd_open(process.pid), time.monotonic() + WITHIN
            while (left := deadline - time.monotonic()) > 0:
                ready, _, _ = select.select([manager, ended], [], [], left)
                if ended in ready:
                    raise SystemExit(f"it ended before it was ready: {(self._machine / 'journal').read_text()[-2000:]}")
                if manager in ready and b"READY=1" in manager.recv(4096).splitlines():
                    process.returncode = 0  # it goes on without us
                    return
        raise SystemExit("it was not ready in time")

    def stop(self) -> None:
        """KillMode=process: its main process is told, and nobody else."""
        pid = int(self._pid.read_text())
        ended = os.pidfd_open(pid)
        os.kill(pid, signal.SIGTERM)
        if not select.select([ended], [], [], float(self.said["TimeoutStopSec"]))[0]:
            raise SystemExit("it did not stop in time")
        self._pid.unlink()

    def reload(self) -> None:
        words = shlex.split(self.said["ExecReload"].replace("$MAINPID", self._pid.read_text()))
        subprocess.run(words, check=True)


def _most() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def main(machine: Path, words: list[str]) -> None:
    match words:
        case ["daemon-reload"]:
            return
        case ["enable", "--now", name]:
            Unit(machine, name).start()
        case ["start" | "stop" | "reload" as command, name]:
            getattr(Unit(machine, name), command)()
        case _:
            raise SystemExit(f"not known here: {words}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
