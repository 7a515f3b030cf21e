"""`clary`: the door for users. `main` is the console script; the commands are declared in `commands`, each does its work in a module
of its own that is imported only when the command runs, so that `clary --help` stays quick.

Exit codes: 0 done; 1 it failed (one line on standard error says why and what to do); 2 wrong usage; 3 Clary does not run; 4 there
is no such thing; 5 `clary doctor` found something that must be fixed; 130 interrupted. `clary shell -- COMMAND`: the command's own.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from clary.domain.errors import ClaryError


def main() -> None:
    try:
        _main()
    except KeyboardInterrupt:  # also while modules are being imported
        sys.exit(130)


def _main() -> None:
    import typer

    from clary.app.cli.commands import app
    from clary.app.cli.output import NobodyReads, explain

    wrong_usage: Any = typer.BadParameter.__mro__[1]  # UsageError, which Typer keeps to itself

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to fail
    try:
        sys.exit(app(prog_name="clary", standalone_mode=False))
    except wrong_usage as error:
        sys.exit(_misused(error))
    except NobodyReads:
        # What Python still holds must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (ClaryError, RuntimeError, ValueError, OSError) as error:
        sys.exit(explain(error))


def _misused(error: Any) -> int:
    """Say in one line what was wrong about the command line; a command that only has commands shows its help."""
    from clary.app.cli.output import USAGE, plain

    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return USAGE
    command = error.ctx.command_path if error.ctx is not None else "clary"
    sentence = error.format_message().rstrip(".")
    print(f"clary: {plain(sentence[:1].lower() + sentence[1:])} (`{command} --help` tells more)", file=sys.stderr)
    return USAGE
