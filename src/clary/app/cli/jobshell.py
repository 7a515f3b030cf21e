"""`clary shell JOB`: opens a shell in the sandbox of a failed training job, with its mounts, files, user and environment.

The job's credentials have run out by then, so fresh ones of the same role take their place.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Mapping, Sequence
from typing import Any

from clary.app.cli.client import ApiFailure
from clary.app.cli.output import NOT_FOUND, CommandRefused, say_json, warn
from clary.app.cli.site import Site
from clary.app.cli.top import name_of
from clary.app.keys import open_keys
from clary.app.workloads import backend
from clary.backends.choice import ChosenBackend
from clary.backends.reentry import Reentry
from clary.domain.access.roles import assumed_arn, parse_role

SECONDS = 12 * 3600.0  # that the fresh credentials last
_TOKENS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def known(site: Site, job: str) -> Mapping[str, Any] | None:
    """The job's description; None when there is no job of that name."""
    client = site.client()
    try:
        return client.call("sagemaker", "DescribeTrainingJob", {"TrainingJobName": job})
    except ApiFailure:
        return None
    finally:
        client.close()


def enter(site: Site, job: str, seen: Mapping[str, Any], host: str, command: Sequence[str], *, as_json: bool) -> int:
    """The command's exit code."""
    if seen["TrainingJobStatus"] != "Failed":
        raise CommandRefused(
            f"{job} is {seen['TrainingJobStatus']}: only the sandboxes of failed jobs are kept", NOT_FOUND
        )
    runs = backend(site.settings)
    try:
        handle = asyncio.run(_handle(runs, f"{job}/{host}"))
        if handle is None:
            kept = site.settings.kept_jobs
            raise CommandRefused(
                f"nothing is left of {job}'s {host}: the sandboxes of the last {kept} failed jobs are kept (setting kept_jobs)",
                NOT_FOUND,
            )
        terminal = sys.stdin.isatty() and not as_json
        way = runs.reentry(handle, list(command) or ["/bin/bash"], _credentials(site, seen), terminal)
    finally:
        runs.close()
    if as_json:
        say_json({"command": way.command, "was": way.was})
        return 0
    if not command:
        warn(f"the sandbox of {job} ({host}) as it was when it failed; it ran: {shlex.join(way.was)}; exit leaves it")
    return _on_terminal(way) if terminal else _plainly(way)


async def _handle(runs: ChosenBackend[Any], name: str) -> str | None:
    host = name.rpartition("/")[2]  # the run that extracted its code writes the same log
    handles = [each for each in await runs.handles() if each.startswith("job-") and each.endswith(f"-{host}")]
    return next((handle for handle in handles if name_of(runs.log_path(handle)) == name), None)


def _credentials(site: Site, seen: Mapping[str, Any]) -> dict[str, str]:
    """Of the job's role, as the job had them."""
    parsed = parse_role(str(seen["RoleArn"]))
    account = str(seen["TrainingJobArn"]).split(":")[4]
    principal = assumed_arn(account, parsed[2] if parsed else "job", "SageMaker")
    issued = open_keys(site.settings).issue(account, principal, SECONDS, time.time())
    return dict(zip(_TOKENS, (issued.access_key_id, issued.secret, issued.session_token), strict=True))


def _plainly(way: Reentry) -> int:
    argv, files = way.open()
    try:
        return subprocess.run(argv, env={}, pass_fds=files, check=False).returncode
    finally:
        for number in files:
            os.close(number)


def _on_terminal(way: Reentry) -> int:
    """With a terminal of its own in between, so that nothing inside can type into ours."""
    argv, files = way.open()
    pid, master = pty.fork()
    if pid == 0:
        for number in files:
            os.set_inheritable(number, True)
        os.execve(argv[0], argv, {})
    for number in files:
        os.close(number)
    ours = sys.stdin.fileno()
    before = termios.tcgetattr(ours)

    def resized(*_: object) -> None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(ours, termios.TIOCGWINSZ, bytes(8)))

    resized()
    old = signal.signal(signal.SIGWINCH, resized)
    tty.setraw(ours, termios.TCSADRAIN)  # what was typed ahead is kept
    try:
        _copy(ours, master)
    finally:
        termios.tcsetattr(ours, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, old)
        os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _copy(ours: int, master: int) -> None:
    """Both ways until the other side is gone."""
    sources = [ours, master]
    while True:
        for ready in select.select(sources, [], [])[0]:
            try:
                data = os.read(ready, 65536)
            except OSError:  # EIO: nobody has the other end open any more
                return
            if not data and ready == master:
                return
            if not data:
                sources.remove(ours)
                continue
            os.write(master if ready == ours else sys.stdout.fileno(), data)
