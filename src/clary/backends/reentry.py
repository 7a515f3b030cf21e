"""A sandbox entered again after its run has ended: the same mounts, user and filter, another command.

Owns what becomes of a kept run's bwrap arguments. The run's control group is gone, so limits of memory and CPU are not enforced:
who enters is the operator. Does not know whose run it was.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clary.backends.networks import entering
from clary.backends.sandbox import CARRIED
from clary.backends.state import Base, Folder
from clary.domain.errors import NotFound

COMMAND = "CLARY_JOB_COMMAND"  # names the command that the run had, inside
_SHELL = 'cd /opt/ml/code 2>/dev/null; exec "$@"'


@dataclass(frozen=True, slots=True)
class Reentry:
    """`arguments` are bwrap's options with the environment (secret: they go through a file), `command` what it executes, `was` what
    the run executed."""

    bwrap: str
    seccomp: str
    arguments: tuple[str, ...] = field(repr=False)
    command: tuple[str, ...]
    was: tuple[str, ...]
    network: Mapping[str, Any] | None = None  # as the shim was told of it; None: none of its own

    def open(self) -> tuple[list[str], tuple[int, int]]:
        """The argv, and the files that it names by number: the caller lets both be inherited."""
        with tempfile.TemporaryFile() as file:
            file.write("".join(item + "\0" for item in self.arguments).encode())
            file.seek(0)
            arguments = os.dup(file.fileno())
        seccomp = os.open(self.seccomp, os.O_RDONLY | os.O_CLOEXEC)
        argv = [self.bwrap, "--seccomp", str(seccomp), "--args", str(arguments), "--", *self.command]
        return [*(entering(self.network) if self.network else ()), *argv], (arguments, seccomp)


def reentry(
    root: str | None, base: Base, command: Sequence[str], variables: Mapping[str, str], terminal: bool
) -> Reentry:
    """For the run whose folder is `root`; `base` may have been moved since it ran. `variables` replace those of the same name;
    `terminal`: it gets a terminal of its own, on which jobs can be controlled. NotFound when nothing is left of the run."""
    spec = Folder.of(root).read("spec.json") if root else None
    kept = Folder.of(root).path / "bwrap.args" if root else None
    if spec is None or root is None or kept is None or not kept.is_file():
        raise NotFound("nothing is left of the run")
    before = str(spec["args"]).removesuffix(f"/{base.kept(str(kept))}")  # where the base was then
    head, was = _split([_here(word, before, base) for word in spec["command"]])
    arguments = [_here(word, before, base) for word in kept.read_text().split("\0")[:-1]]
    arguments = _with(arguments, {**variables, COMMAND: " ".join(was)})
    if terminal:  # a private terminal: what is typed into it from inside goes nowhere else
        arguments.remove("--new-session")
    names = f'export {COMMAND}="${CARRIED}{COMMAND}"; unset {CARRIED}{COMMAND}; {_SHELL}'
    return Reentry(
        spec["bwrap"],
        spec["seccomp"],
        tuple(arguments),
        (*head, "/bin/sh", "-c", names, "sh", *command),
        was,
        spec.get("network"),
    )


def _here(word: str, before: str, base: Base) -> str:
    """A word of the run's command line, with the paths that it has now."""
    return word.replace(f"{before}/", f"{base.path}/")


def _split(command: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The way down to the workload's user and its variables' names (`sandbox.command`), and the workload's own command."""
    place = list(command).index("sh") + 1
    return tuple(command[:place]), tuple(command[place:])


def _with(arguments: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """The `--setenv NAME VALUE` of these changed, or added."""
    left = dict(variables)
    found = list(arguments)
    for place, item in enumerate(found[:-2]):
        name = found[place + 1].removeprefix(CARRIED)
        if item == "--setenv" and name in left:
            found[place + 2] = left.pop(name)
    for name, value in left.items():
        found += ["--setenv", CARRIED + name, value]
    return found
