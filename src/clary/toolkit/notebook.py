"""`amazon_sagemaker_scheduler`: runs a notebook by papermill, as AWS's images that run notebooks do.

Owns the contract of those images: the variables SM_*, parameters from the job's hyperparameters, the init script, and what is left in
`/opt/ml/output/data`: the notebook as it came, the notebook as it was run (up to the cell that failed), and the log. A failure is told in
`/opt/ml/output/failure` as `[SM-110] Error with executing notebook`; the digits say which of the three files are there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any, Dict, Iterator, Mapping

from clary.toolkit import failure
from clary.toolkit.failure import UserError, log

LOG = "sagemaker_job_execution.log"
CHANNEL = "/opt/ml/input/data/sagemaker_headless_execution"
_KERNEL = "python3"
_LAST_WORDS = 5.0  # seconds: a process that a cell left behind may hold the log open


class NotebookPlaces:
    """Where the job's files are, by its variables. UserError for a variable that is missing or is not understood."""

    def __init__(self, variables: Mapping[str, str], ml: str = "/opt/ml") -> None:
        self.folder = variables.get("SM_EXECUTION_INPUT_PATH") or CHANNEL
        self.data = os.path.join(ml, "output", "data")
        self.failure = os.path.join(ml, "output", "failure")
        self.parameters = os.path.join(ml, "input", "config", "hyperparameters.json")
        self.name = _needed(variables, "SM_INPUT_NOTEBOOK_NAME")
        self.given = os.path.join(self.folder, self.name)
        self.made = os.path.join(self.data, output_name(_needed(variables, "SM_OUTPUT_NOTEBOOK_NAME")))
        self.log = os.path.join(self.data, LOG)
        self.kernel = variables.get("SM_KERNEL_NAME") or _KERNEL
        self.script = variables.get("SM_INIT_SCRIPT", "")
        version = variables.get("SM_JOB_DEF_VERSION", "1.0")
        if version != "1.0":
            raise UserError("Cannot handle SageMaker job definition version: {}".format(version))

    def flags(self) -> str:
        """Which files are there: the notebook that was given, the one that was run, the log."""
        files = (os.path.join(self.data, self.name), self.made, self.log)
        return "".join("1" if os.path.isfile(each) else "0" for each in files)


def _needed(variables: Mapping[str, str], name: str) -> str:
    value = variables.get(name, "")
    if not value or os.path.basename(value) != value:
        raise UserError("{} must name a file; it is {!r}.".format(name, value))
    return value


def output_name(given: str) -> str:
    """As AWS's images write it: a time in it loses its colons and points."""
    return re.sub(r"-*ipynb$", ".ipynb", given.replace(".", "-").replace(":", "-"))


def main() -> int:
    """The whole job; answers its exit code."""
    try:
        places = NotebookPlaces(os.environ)
    except UserError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    with _recorded(places.log):
        return _job(places)


def _job(places: NotebookPlaces) -> int:
    step = "Prepare the input notebook"
    formats = os.environ.get("SM_OUTPUT_FORMATS")
    if formats:
        log("SM_OUTPUT_FORMATS is not obeyed: the notebook is not converted to {}.".format(formats))
    try:
        if not os.path.isfile(places.given):
            raise UserError("Cannot find input notebook: {}".format(places.given))
        shutil.copy(places.given, places.data)
        os.chdir(places.folder)
        step = "running init script"
        if places.script:
            os.environ.update(sourced(os.path.join(places.folder, places.script)))
        step = "executing notebook"
        run(places)
    except UserError as error:
        return _failed(places, step, str(error))
    except Exception as error:  # a mistake of ours, of papermill's or of its kernel's
        return _failed(places, step, "{}: {}".format(type(error).__name__, error))
    log("Notebook execution is complete")
    return 0


def _failed(places: NotebookPlaces, step: str, why: str) -> int:
    text = "[SM-{}] Error with {}\n{}".format(places.flags(), step, why)
    print(text, file=sys.stderr, flush=True)
    with open(places.failure, "w", encoding="utf-8") as file:
        file.write(text[: failure.LIMIT])
    return 1


@contextlib.contextmanager
def _recorded(path: str) -> Iterator[None]:
    """What this process and its children say goes to the job's log, and into the file too."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    reading, writing = os.pipe()
    shown = [os.dup(number) for number in (1, 2)]
    for number in (1, 2):
        os.dup2(writing, number)
    os.close(writing)
    file = open(path, "wb", buffering=0)

    def copy() -> None:
        with file:
            while True:
                piece = os.read(reading, 1 << 16)
                if not piece:
                    return
                file.write(piece)
                os.write(shown[0], piece)

    copying = threading.Thread(target=copy, daemon=True)
    copying.start()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, own in zip((1, 2), shown):
            os.dup2(own, number)
        copying.join(_LAST_WORDS)


def sourced(script: str) -> Dict[str, str]:
    """The variables that are exported after a shell has run the user's script. UserError when it fails."""
    command = '. "$1" && env -0 > "$2"'
    reading, writing = os.pipe()
    with open(reading, "rb") as file:
        child = subprocess.Popen(
            ["bash", "-c", command, "init", script, "/dev/fd/{}".format(writing)], pass_fds=(writing,)
        )
        os.close(writing)
        text = file.read()
        code = child.wait()
    if code:
        raise UserError("{} ended with exit code {}.".format(os.path.basename(script), code))
    pairs = (each.partition("=") for each in text.decode(errors="surrogateescape").split("\0") if each)
    return {name: value for name, _, value in pairs}


def parameters(path: str) -> Dict[str, Any]:
    """The notebook's parameters: the job's hyperparameters, which are texts."""
    try:
        with open(path, encoding="utf-8") as file:
            found: Dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return {}
    return found


def run(places: NotebookPlaces) -> None:
    """Run it. UserError names the cell that failed, or a kernel that is not there."""
    import papermill  # type: ignore[import-not-found, unused-ignore]
    from jupyter_client.kernelspec import (  # type: ignore[import-not-found, unused-ignore]
        KernelSpecManager,
        NoSuchKernel,
    )

    os.environ.setdefault("IPYTHONDIR", "/tmp/ipython")
    os.environ.setdefault("JUPYTER_RUNTIME_DIR", "/tmp/jupyter")
    signal.signal(signal.SIGTERM, _stopped)
    try:
        papermill.execute_notebook(
            places.given,
            places.made,
            parameters=parameters(places.parameters),
            kernel_name=places.kernel,
            progress_bar=False,
            log_output=True,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
        )
    except NoSuchKernel:
        known = ", ".join(sorted(KernelSpecManager().find_kernel_specs())) or "none"
        raise UserError("There is no kernel {!r} in this image. There are: {}.".format(places.kernel, known)) from None
    except papermill.exceptions.PapermillExecutionError as error:
        told = "Cell {}: {}: {}".format(error.exec_count, error.ename, error.evalue)
        raise UserError("PapermillExecutionError: {}".format(told)) from None


def _stopped(*_: Any) -> None:
    """A stop: papermill stores what was run, on the way out."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
