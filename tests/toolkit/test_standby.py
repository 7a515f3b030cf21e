"""An interpreter that waits for its order, and is then what it would have been when it was started for that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit.standby import differing, shadowed

PYTHON = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(ml: Path, library: str) -> Run:
    """Have a script run, warm or cold."""

    def begin(
        script: str, *, warm: bool = True, environment: dict[str, str] | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        (ml / "code/t.py").write_text(script)
        (ml / "input/config/hyperparameters.json").write_text(json.dumps({"sagemaker_program": "t.py", **more}))
        base = {"PATH": os.environ["PATH"], "PYTHONPATH": library, "SAGEMAKER_BASE_DIR": str(ml), "LANG": "C.UTF-8"}
        command = [PYTHON, "-m", "clary.toolkit.train"]
        order: dict[str, Any] = {"command": command, "environment": {**base, **(environment or {})}, "cwd": "/"}
        argv = [PYTHON, "-m", "clary.toolkit.standby", "fractions"] if warm else command
        variables = base if warm else order["environment"]
        return subprocess.run(
            argv, env=variables, input=json.dumps(order), capture_output=True, text=True, timeout=60, cwd="/"
        )

    return begin


SHOWN = """
import json, os, sys
from pathlib import Path
folders = [os.path.realpath(each) for each in sys.path]
seen = {"argv": sys.argv, "cwd": os.getcwd(), "file": __file__, "name": __name__, "variables": dict(os.environ), "path": folders}
Path("../model/seen.json").write_text(json.dumps(seen))
late = open("../model/late", "w")
late.write("flushed at the end")
"""


def test_a_script_sees_what_one_of_a_python_of_its_own_sees(ml: Path, run: Run) -> None:
    seen = []
    for warm in (True, False):
        done = run(SHOWN, warm=warm, environment={"MINE": "1"}, epochs="3")
        assert done.returncode == 0, done.stderr
        seen.append(json.loads((ml / "model/seen.json").read_text()))
        assert (ml / "model/late").read_text() == "flushed at the end"
    assert seen[0] == seen[1]
    assert seen[0]["argv"] == ["t.py", "--epochs", "3"]


def test_what_was_imported_is_there(ml: Path, run: Run) -> None:
    text = "import sys, pathlib; pathlib.Path('../model/m').write_text(str('fractions' in sys.modules))"
    for warm in (True, False):
        assert run(text, warm=warm).returncode == 0
        assert (ml / "model/m").read_text() == str(warm)


@pytest.mark.parametrize(
    "script",
    [
        "def f():\n    raise ValueError('no good')\nf()\n",
        "import sys\nsys.exit(7)\n",
        "import sys\nsys.exit('words')\n",
        "this is no Python\n",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
        "import threading\nthreading.Thread(target=lambda: print('a thread')).start()\n",
    ],
)
def test_it_ends_as_one_of_a_python_of_its_own_ends(ml: Path, run: Run, script: str) -> None:
    ends = []
    for warm in (True, False):
        done = run(script, warm=warm)
        failure = ml / "output/failure"
        ends.append((done.returncode, done.stdout.splitlines()[-1:], failure.read_text() if failure.exists() else ""))
        failure.unlink(missing_ok=True)
    assert ends[0] == ends[1]


def test_code_that_has_a_module_by_an_imported_name_begins_in_a_python_of_its_own(ml: Path, run: Run) -> None:
    (ml / "code/fractions.py").write_text("MINE = True\n")
    done = run("import fractions\nassert fractions.MINE\n")
    assert done.returncode == 0, done.stderr
    assert "modules named fractions" in done.stdout


def test_a_variable_that_is_read_at_import_begins_a_python_of_its_own(ml: Path, run: Run) -> None:
    text = "import sys, pathlib; pathlib.Path('../model/m').write_text(str('fractions' in sys.modules))"
    assert run(text, environment={"OMP_NUM_THREADS": "1"}).returncode == 0
    assert (ml / "model/m").read_text() == "False"


def test_variables_that_differ_are_those_that_a_module_may_have_read() -> None:
    assert differing({"A": "1", "TZ": "UTC"}, {"B": "2", "TZ": "UTC", "OMP_NUM_THREADS": "1"}) == ["OMP_NUM_THREADS"]
    assert differing({"LANG": "C"}, {}) == ["LANG"]


def test_modules_are_shadowed_by_files_and_by_folders(tmp_path: Path) -> None:
    for name in ("numpy.py", "scipy.cpython-311.so", "data.csv", "readme.txt"):
        (tmp_path / name).touch()
    (tmp_path / "sklearn").mkdir()
    imported = ["numpy", "scipy.linalg", "sklearn", "data", "readme", "pandas"]
    assert shadowed([str(tmp_path), "/not/there"], imported) == ["numpy", "scipy", "sklearn"]
