"""`clary completion`: the script that makes bash or zsh complete `clary`'s commands and options."""

from __future__ import annotations

from clary.app.cli.output import USAGE, CommandRefused, say, say_json


def completion(shell: str, *, as_json: bool) -> None:
    from typer._completion_shared import get_completion_script

    if shell not in ("bash", "zsh"):
        raise CommandRefused(f"completion is for bash and zsh, not {shell!r}", USAGE)
    script = get_completion_script(prog_name="clary", complete_var="_CLARY_COMPLETE", shell=shell)
    if as_json:
        say_json({"shell": shell, "script": script})
    else:
        say(script)
