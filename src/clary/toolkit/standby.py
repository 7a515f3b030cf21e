"""`python -m clary.toolkit.standby MODULE...`: an interpreter of a warm pool.

Imports what it is told, reads its order from standard input (JSON: `command`, `environment`, `cwd`), and is that command. Of a training
job it becomes `train`, and a fork of it runs the user's script: what is imported is there. It has seen nothing of any job before its
order, for its sandbox is a new one that only waited. Where an imported module could differ from what the job would import (a variable
that is read at import, a file of the user's by the same name), the command or the script begins in a Python of its own.

Runs with the environment's Python (3.9 and later); standard library only, beside what it is told to import.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
import types
from typing import IO, Any, Dict, List, Mapping, NoReturn, Optional, Sequence

from clary.toolkit import environment, train
from clary.toolkit.failure import UserError, log

TRAIN = "clary.toolkit.train"
# Read when numpy, scikit-learn, xgboost or the interpreter begin, not when they are used. Compared as beginnings of names.
READ_AT_IMPORT = (
    "PYTHON",
    "LD_",
    "OMP_",
    "GOMP_",
    "KMP_",
    "OPENBLAS_",
    "GOTO_",
    "BLIS_",
    "MKL_",
    "VECLIB_",
    "NUMEXPR_",
    "NUMPY_",
    "NPY_",
    "SCIPY_",
    "SKLEARN_",
    "PANDAS_",
    "XGBOOST_",
    "JOBLIB_",
    "LOKY_",
    "ARROW_",
    "MALLOC_",
    "GLIBC_",
    "LC_",
    "LANG",
    "TZ",
)
TRAIN = "clary.toolkit.train"


def main(modules: Sequence[str]) -> int:
    started = dict(os.environ)
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:  # the job may do without, or see the same error
            traceback.print_exc()
    order = json.loads(sys.stdin.buffer.read())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return obey(order, started)


def obey(order: Mapping[str, Any], started: Mapping[str, str]) -> int:
    """Be what is ordered; answers its exit code. `started`: the variables before anything was imported. What modules set at their import
    (scikit-learn does) stays set, as it would be for a script that imports them."""
    command, variables = [str(part) for part in order["command"]], dict(order["environment"])
    os.chdir(order["cwd"])
    names = differing(started, variables)
    theirs = {name: value for name, value in os.environ.items() if name not in started}
    os.environ.clear()
    os.environ.update(variables)
    why = "it sets {}".format(", ".join(names)) if names else _other(command)
    if why:
        log("The job begins in a Python of its own, not in that of the warm pool: {}.".format(why))
        os.execve(command[0], command, variables)
    os.environ.update({name: value for name, value in theirs.items() if name not in variables})
    return train.main(begin)


def _other(command: Sequence[str]) -> str:
    """Why this cannot be the command; "" where it can. A built-in algorithm sets what its libraries read before it imports them."""
    try:
        script = environment.load(os.environ).program
    except UserError as error:
        return str(error)
    ours = list(command) == [sys.executable, "-m", TRAIN] and script
    return "" if ours else "it runs {}".format(" ".join(command) if script else "no script")


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> List[str]:
    """Variables that a module may have read at its import, and that the job has otherwise."""
    names = sorted({*before, *after})
    return [name for name in names if name.startswith(READ_AT_IMPORT) and before.get(name) != after.get(name)]


def shadowed(folders: Sequence[str], imported: Sequence[str]) -> List[str]:
    """Modules that are imported, and that one of the folders has as well: a Python that begins there would import those."""
    known = {name.partition(".")[0] for name in imported}
    found = set()
    for folder in folders:
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            stem = name.partition(".")[0]
            if stem in known and (name == stem or name.endswith((".py", ".pyc", ".so"))):
                found.add(stem)
    return sorted(found)


def begin(command: List[str], variables: Dict[str, str], folder: str) -> train.ScriptRun:
    """Run a script of Python in a fork of this interpreter, which has imported what it will; anything else as a process of its own."""
    script = command[1] if command[0] == sys.executable and len(command) > 1 else ""
    if not script.endswith(".py"):
        return train.executed(command, variables, folder)
    path = _path(script, variables, folder)
    theirs = shadowed([each for each in path if each != _own()], list(sys.modules))
    if theirs:
        log("The code has modules named {}: it begins in a Python of its own.".format(", ".join(theirs)))
        return train.executed(command, variables, folder)
    return Forked(script, command[1:], variables, folder, path)


def _path(script: str, variables: Mapping[str, str], folder: str) -> List[str]:
    """Where a Python that is started with this script looks before its own library."""
    given = [each for each in variables.get("PYTHONPATH", "").split(os.pathsep) if each]
    return [os.path.dirname(os.path.realpath(os.path.join(folder, script))), *given]


def _own() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Forked:
    """A script in a fork of this interpreter, as `subprocess.Popen` shows a process."""

    def __init__(
        self, script: str, arguments: List[str], variables: Mapping[str, str], folder: str, path: List[str]
    ) -> None:
        said, saying = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(said)
            os.dup2(saying, 2)
            os.close(saying)
            _run(script, arguments, variables, folder, path)
        os.close(saying)
        self.stderr: Optional[IO[bytes]] = os.fdopen(said, "rb", 0)
        self._code: Optional[int] = None

    def send_signal(self, number: int) -> None:
        if self._code is None:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code; less than 0 where a signal ended it."""
        if self._code is None:
            status = os.waitpid(self.pid, 0)[1]
            self._code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self._code


def _run(script: str, arguments: List[str], variables: Mapping[str, str], folder: str, path: List[str]) -> NoReturn:
    """In the fork: be the Python that was started with this script. It ends by SystemExit, as any does, so that all is flushed."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    standard = [each for each in sys.path if each not in ("", _own()) and each not in path]
    sys.path[:] = [*path, *standard]
    sys.argv[:] = arguments
    importlib.invalidate_caches()
    name = os.path.abspath(script)
    module = types.ModuleType("__main__")
    module.__file__ = name
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = module
    try:
        with open(name, "rb") as file:
            code = compile(file.read(), name, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - the user's own program, where it would have been executed anyway
    except SystemExit:
        raise
    except BaseException as error:
        # as the interpreter shows it: from the script on
        shown = error.__traceback__.tb_next if error.__traceback__ else None
        sys.excepthook(type(error), error.with_traceback(shown), shown)
        raise SystemExit(1) from None
    raise SystemExit(0)


if __name__ == "__main__":
    del sys.path[0]  # the current folder, which `-m` puts there
    sys.exit(main(sys.argv[1:]))
