"""A model whose code is its own HTTP server (GET /ping and POST /invocations): how its user says so. Pure.

SageMaker runs `docker run IMAGE serve`. There is no image here, so the program `serve` is one of the code: an executable file `serve`,
or `serve.py`. Or the container's Environment gives a command line. A script that SAGEMAKER_PROGRAM names is the inference toolkit's,
whatever it is called and whatever lies beside it: that is how the SDKs send an `entry_point`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

COMMAND = "CLARY_SERVE_COMMAND"
PROGRAMS = ("serve", "serve.py")
PORT = 8080  # where the sandbox has a network of its own; else the replica looks for a free one
PING_SECONDS = 5.0  # between two looks at a server that serves
FORWARDERS = 16  # requests that one replica's server gets at once, when its user does not say


def command(environment: Mapping[str, str], files: Collection[str], code_dir: str) -> list[str]:
    """What starts the server, empty for a model without one of its own. `files`: names in `code_dir`, the sandbox's folder of code."""
    if environment.get(COMMAND, "").strip():
        return ["/bin/sh", "-c", environment[COMMAND]]
    program = environment.get("SAGEMAKER_PROGRAM", "")
    if program and program != PROGRAMS[0]:
        return []
    name = program or next((each for each in PROGRAMS if each in files), "")
    return [f"{code_dir}/{name}"] if name else []


def spec(command: list[str], folder: str, isolated: bool) -> dict[str, Any]:
    """What the replica's processes read of it. Port 0: look for a free one, for this sandbox shares the machine's ports."""
    return {"command": command, "folder": folder, "port": PORT if isolated else 0, "usual": PORT, "ping": PING_SECONDS}
