"""`python -m clary.toolkit.train`: the training container's `train`.

Owns the run of one host of a training job: the user's script (script mode, `sagemaker_program`) as a child with the SM_*
environment, or the built-in algorithm that `CLARY_ALGORITHM` names. Afterwards the exit code and `/opt/ml/output/failure` say how
it went, as the open training toolkit's do: a script's own code; else the exception's errno, else 1. What a script wrote into the
failure file itself stays there. Code is already unpacked in
`/opt/ml/code` and its requirements are already in the environment (`clary.toolkit.prepare` and the planner did that).
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
import traceback
from collections import deque
from typing import IO, Any, Callable, Deque, Dict, List, Mapping, Optional, Protocol, Tuple

from clary.toolkit import environment, failure
from clary.toolkit.failure import UserError, log
from clary.toolkit.paths import COMPAT

ALGORITHMS = {"xgboost": "clary.toolkit.algorithms.xgboost"}
_ENDED = "SIGTERM came: the job was stopped, its time was up, or another of its hosts failed."
_TAIL = 64 << 10  # bytes of standard error that are kept for the failure text


class ScriptRun(Protocol):
    """A script that runs, as `subprocess.Popen` shows it."""

    stderr: Optional[IO[bytes]]

    def send_signal(self, number: int) -> None: ...
    def wait(self) -> int: ...


Begins = Callable[[List[str], Dict[str, str], str], ScriptRun]  # of a command, variables, folder


def executed(command: List[str], variables: Dict[str, str], folder: str) -> ScriptRun:
    """The script as a process of its own."""
    return subprocess.Popen(command, env=variables, cwd=folder, stderr=subprocess.PIPE)


def main(begin: Begins = executed) -> int:
    base = os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml"
    path = os.path.join(base, "output", "failure")
    try:
        env = environment.load(os.environ)
        code, text = run_script(env, begin) if env.program else (run_algorithm(env), "")
    except UserError as error:
        code, text = 1, str(error)
    except SystemExit:
        raise
    except Exception as error:
        traceback.print_exc()
        code = getattr(error, "errno", None) or 1
        summary = failure.essence(traceback.format_exc(), failure.LIMIT - 20)
        text = "Framework Error: \n" + summary
    if code:
        verb = "was ended" if text == _ENDED else "failed"
        print("Training {} with exit code {}.".format(verb, code), file=sys.stderr, flush=True)
        if text:
            print(text, file=sys.stderr, flush=True)
            if not _holds_words(path):
                _write(path, text)
        advice = failure.advice(text)
        if advice:
            print(advice, file=sys.stderr, flush=True)
        return code
    _write(os.path.join(base, "output", "success"), "")
    return 0


def run_algorithm(env: environment.TrainingEnvironment) -> int:
    """Run the built-in algorithm in this process; it raises UserError for what the user asked wrongly."""
    name = os.environ.get("CLARY_ALGORITHM", "")
    if name not in ALGORITHMS:
        raise UserError(
            "This image has no built-in algorithm: set the hyperparameter sagemaker_program (script mode) or a container entrypoint."
        )
    # Libraries read these when they are imported.
    os.environ.setdefault("OMP_NUM_THREADS", str(env.cpus))
    for variable, value in waiting(env).items():
        os.environ.setdefault(variable, value)
    module = importlib.import_module(ALGORITHMS[name])
    return int(module.train(env) or 0)


def waiting(env: environment.TrainingEnvironment) -> Dict[str, str]:
    """How OpenMP's threads wait for each other. Hosts of one job share a machine's cores, and a thread that spins takes the core that the
    others need to get on: four hosts of XGBoost on two cores train 3 to 16 times as fast without. One host alone is quicker spinning."""
    return {"OMP_WAIT_POLICY": "PASSIVE"} if len(env.hosts) > 1 else {}


def run_script(env: environment.TrainingEnvironment, begin: Begins = executed) -> Tuple[int, str]:
    """Run the user's script as a child; answers its exit code and the failure text."""
    command = script_command(env)
    variables = {**waiting(env), **os.environ, **environment.variables(env)}
    variables["PYTHONPATH"] = os.pathsep.join(_python_path(env, os.environ))
    _announce(env, command)
    code, stderr, ended = _run(begin(command, variables, env.code_dir))
    if ended and code == 128 + signal.SIGTERM:
        return code, _ENDED
    if code:
        return code, failure.script_failure(code, stderr, _shown(command))
    return 0, ""


def script_command(env: environment.TrainingEnvironment) -> List[str]:
    """The command for what `sagemaker_program` names: a Python file, a module of a package with setup.py, or any executable."""
    program = env.program
    _refuse_distributions(env)
    arguments = environment.user_arguments(env)
    packaged = os.path.exists(os.path.join(env.code_dir, "setup.py"))
    if not packaged and not os.path.isfile(os.path.join(env.code_dir, program)):
        found = sorted(os.listdir(env.code_dir)) if os.path.isdir(env.code_dir) else []
        raise UserError(
            "ImportModuleError: {} is not in the source directory, which holds: {}".format(
                program, ", ".join(found)[:500] or "nothing"
            )
        )
    python = [sys.executable]
    if env.framework.get("sagemaker_torch_distributed_enabled"):
        python += _torchrun(env)
    if packaged:
        _install_package(env)
        return [*python, "-m", environment.module_name(program), *arguments]
    if program.endswith(".py"):
        return [*python, program, *arguments]
    return [*_interpreter(os.path.join(env.code_dir, program)), "./" + program, *arguments]


def _interpreter(path: str) -> List[str]:
    """What runs a program that is not Python: nothing when the kernel can, else what its first line names, else the shell. AWS's
    toolkit makes it executable; here it may lie in a folder that is not the job's own to change."""
    with open(path, "rb") as file:
        first = file.readline(256)
    if os.access(path, os.X_OK) and first.startswith((b"#!", b"\x7fELF")):
        return []
    named = first[2:].decode("utf-8", "replace").split() if first.startswith(b"#!") else []
    return named or ["/bin/sh"]


def _torchrun(env: environment.TrainingEnvironment) -> List[str]:
    """PyTorch's own launcher, one process per GPU (one without), as `torch_distributed` does on AWS."""
    hosts = env.hosts
    return [
        "-m",
        "torch.distributed.run",
        "--nnodes={}".format(len(hosts)),
        "--node_rank={}".format(hosts.index(env.host)),
        "--nproc_per_node={}".format(max(1, env.gpus)),
        "--master_addr={}".format(hosts[0]),
        "--master_port=7777",
    ]


def _refuse_distributions(env: environment.TrainingEnvironment) -> None:
    for key in (
        "sagemaker_mpi_enabled",
        "sagemaker_distributed_dataparallel_enabled",
        "sagemaker_parameter_server_enabled",
    ):
        if env.framework.get(key):
            raise UserError("the distribution asked for by {} is not available here; torch_distributed is.".format(key))


def _install_package(env: environment.TrainingEnvironment) -> None:
    """`pip install .` of the user's package (its requirements are in the environment already)."""
    command = [sys.executable, "-m", "pip", "install", ".", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    done = subprocess.run(command, cwd=env.code_dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        log(
            "pip could not install the package ({}): it runs from its folder.".format(
                failure.tail(done.stdout.split("\n"), 300)
            )
        )


def _python_path(env: environment.TrainingEnvironment, environ: Mapping[str, str]) -> List[str]:
    """The user's code first, what the user set, and last what stands in for AWS's own packages (with the toolkit, which they need)."""
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    given = [p for p in environ.get("PYTHONPATH", "").split(os.pathsep) if p and os.path.abspath(p) != own]
    return [env.code_dir, *given, COMPAT, own]


def _announce(env: environment.TrainingEnvironment, command: List[str]) -> None:
    shown = json.loads(environment.variables(env)["SM_TRAINING_ENV"])
    log("Invoking user script")
    print("\nTraining Env:\n\n{}\n".format(json.dumps(shown, indent=4, sort_keys=True)))
    print(
        "Invoking script with the following command:\n\n{}\n".format(_shown(command)),
        flush=True,
    )


def _shown(command: List[str]) -> str:
    """The command as a user would type it in this environment: where its Python lies says nothing to them."""
    first = "python" if command[0] == sys.executable else command[0]
    return " ".join(shlex.quote(part) for part in [first, *command[1:]])


def _run(child: ScriptRun) -> Tuple[int, str, bool]:
    """Wait for the child, whose output is ours; keep the tail of its standard error; hand SIGTERM on to it, and tell whether it came."""
    ended: List[int] = []

    def hand_on(number: int, _frame: Any) -> None:
        ended.append(number)
        child.send_signal(number)

    previous = signal.signal(signal.SIGTERM, hand_on)
    kept: Deque[bytes] = deque()
    reader = threading.Thread(target=_copy, args=(child.stderr, kept), daemon=True)
    reader.start()
    code = child.wait()
    reader.join(timeout=5)  # a grandchild may hold the pipe open: its words are not waited for
    signal.signal(signal.SIGTERM, previous)
    return (128 - code if code < 0 else code), b"".join(list(kept)).decode("utf-8", "replace"), bool(ended)


def _copy(source: Any, kept: Deque[bytes]) -> None:
    size = 0
    while True:
        data = os.read(source.fileno(), 65536)
        if not data:
            return
        kept.append(data)
        size += len(data)
        while size - len(kept[0]) > _TAIL:
            size -= len(kept.popleft())
        while data:
            data = data[os.write(2, data) :]


def _holds_words(path: str) -> bool:
    """Whether the script, or what feeds its channels, wrote its own reason: it knows better than its exit code does."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def _write(path: str, text: str) -> None:
    """Create the file again: a FIFO in its place would never end, a link lead elsewhere."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
