"""`train` as a process: script mode in its three forms, failures, exit codes, SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# The interpreter that Clary's own was made from: in it `clary` is nothing but the toolkit's folder, as in a sandbox.
PYTHON = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(ml: Path, library: str) -> Start:
    def begin(hyperparameters: dict[str, str], **environment: str) -> subprocess.Popen[str]:
        (ml / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
        return subprocess.Popen(
            [PYTHON, "-m", "clary.toolkit.train"],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": library,
                "SAGEMAKER_BASE_DIR": str(ml),
                "CLARY_ALGORITHM": "",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def _end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_python_script(ml: Path, start: Start) -> None:
    (ml / "code/mine.py").write_text("VALUE = 7\n")
    (ml / "code/train.py").write_text(
        "import json, os, sys, mine\n"
        "out = {'argv': sys.argv[1:], 'model': os.environ['SM_MODEL_DIR'], 'cwd': os.getcwd(), 'mine': mine.VALUE,\n"
        "       'path': os.environ['PYTHONPATH'], 'lr': os.environ['SM_HP_LR'], 'user': os.environ['USER_SAYS']}\n"
        "json.dump(out, open(os.environ['SM_MODEL_DIR'] + '/out.json', 'w'))\n"
        "import sagemaker_containers\nassert sagemaker_containers.training_env().hosts == ['algo-1']\nprint('trained')\n"
    )
    given = {"sagemaker_program": '"train.py"', "lr": "0.5", "name": '"adam"'}
    code, out, _ = _end(start(given, USER_SAYS="hello"))
    assert code == 0
    found = json.loads((ml / "model/out.json").read_text())
    assert found["argv"] == ["--lr", "0.5", "--name", "adam"]
    assert found["model"] == str(ml / "model")
    assert found["cwd"] == str(ml / "code")
    assert (found["mine"], found["lr"], found["user"]) == (7, "0.5", "hello")
    assert found["path"].split(":")[0] == str(ml / "code")  # the user's own comes first
    assert "Invoking script with the following command:" in out
    assert "trained" in out
    assert (ml / "output/success").exists()
    assert not (ml / "output/failure").exists()


@pytest.mark.parametrize(
    ("hosts", "given", "found"),
    [(1, {}, None), (2, {}, "PASSIVE"), (2, {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")],
)
def test_threads_of_hosts_that_share_cores_do_not_spin(
    ml: Path, start: Start, hosts: int, given: dict[str, str], found: str | None
) -> None:
    names = [f"algo-{number}" for number in range(1, hosts + 1)]
    (ml / "input/config/resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": names}))
    (ml / "code/train.py").write_text("import os\nprint('policy:', os.environ.get('OMP_WAIT_POLICY'))\n")
    code, out, _ = _end(start({"sagemaker_program": '"train.py"'}, **given))
    assert code == 0
    assert f"policy: {found}" in out


def test_what_published_scripts_import_of_awss_toolkits(ml: Path, start: Start) -> None:
    (ml / "code/other.py").write_text(
        "import os, sys\nprint('other', sys.argv[1:], os.environ['X'])\nsys.exit(int(sys.argv[1]))\n"
    )
    (ml / "code/train.py").write_text(
        "import subprocess\n"
        "import sagemaker_containers.beta.framework as framework\n"
        "from sagemaker_containers import entry_point\n"
        "from sagemaker_training import environment\n"
        "env = environment.Environment()\n"
        "assert (env.hosts, env.is_main, env.is_hetero) == (['algo-1'], True, False), env\n"
        "assert env.hyperparameters == framework.training_env().hyperparameters == {'lr': 0.5}\n"
        "assert env.to_cmd_args() == ['--lr', '0.5'], env.to_cmd_args()\n"
        "assert env.to_env_vars()['SM_HP_LR'] == '0.5'\n"
        "entry_point.run(env.module_dir, 'other.py', ['0'], {'X': 'y'})\n"
        "try:\n    entry_point.run(env.module_dir, 'other.py', ['3'], {'X': 'y'})\n"
        "except subprocess.CalledProcessError as error:\n    print('ended', error.returncode)\n"
    )
    code, out, err = _end(start({"sagemaker_program": "train.py", "lr": "0.5"}))
    assert code == 0, err
    assert "other ['0'] y" in out
    assert "ended 3" in out


def test_a_script_that_raises(ml: Path, start: Start) -> None:
    (ml / "code/train.py").write_text("def f():\n    raise ValueError('column 3 is odd')\nf()\n")
    code, _, err = _end(start({"sagemaker_program": "train.py"}))
    assert code == 1
    text = (ml / "output/failure").read_text()
    assert text.startswith('ExecuteUserScriptError:\nExitCode 1\nErrorMessage "ValueError: column 3 is odd\n')
    assert "train.py" in text
    assert 'Command "python train.py"' in text  # as a user would type it, not where the environment lies
    assert "Traceback (most recent call last):" in err  # streamed as it came


def test_a_missing_module_is_told_with_what_to_do(ml: Path, start: Start) -> None:
    (ml / "code/train.py").write_text("import polarized.frames\n")
    code, out, err = _end(start({"sagemaker_program": "train.py"}))
    assert code == 1
    assert PYTHON not in out + err
    assert "Hint: this environment has no module 'polarized': name its package in requirements.txt" in err
    assert "Hint" not in (ml / "output/failure").read_text()  # FailureReason is AWS's


def test_a_reason_that_the_script_wrote_stays(ml: Path, start: Start) -> None:
    (ml / "code/train.py").write_text(
        f"open({str(ml / 'output/failure')!r}, 'w').write('no rows left')\nraise SystemExit(5)\n"
    )
    code, _, err = _end(start({"sagemaker_program": "train.py"}))
    assert (code, (ml / "output/failure").read_text()) == (5, "no rows left")
    assert "ExitCode 5" in err  # the log has the toolkit's words all the same


@pytest.mark.parametrize("line", ["open({0!r}, 'w')", "os.mkfifo({0!r})", "os.symlink('/etc/hostname', {0!r})"])
def test_a_failure_file_without_words_gives_way(ml: Path, start: Start, line: str) -> None:
    here = ml / "output/failure"
    (ml / "code/train.py").write_text(f"import os\n{line.format(str(here))}\nraise SystemExit(5)\n")
    assert _end(start({"sagemaker_program": "train.py"}))[0] == 5
    assert not here.is_symlink()
    assert "ExitCode 5" in here.read_text()


@pytest.mark.parametrize(
    ("line", "code"), [("import sys; sys.exit(42)", 42), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_exit_codes_pass(ml: Path, start: Start, line: str, code: int) -> None:
    (ml / "code/train.py").write_text(line)
    assert _end(start({"sagemaker_program": "train.py"}))[0] == code
    assert f"ExitCode {code}" in (ml / "output/failure").read_text()


@pytest.mark.parametrize(
    ("mode", "first"), [(0o755, "#!/bin/sh"), (0o644, "#!/bin/bash -e"), (0o644, "# nothing"), (0o755, "")]
)
def test_a_shell_script(ml: Path, start: Start, mode: int, first: str) -> None:
    script = ml / "code/run.sh"
    script.write_text(f'{first}\necho "args: $*"\necho oops >&2\nexit 3\n')
    script.chmod(mode)
    code, out, _ = _end(start({"sagemaker_program": "run.sh", "a": "x y", "long": "1"}))
    assert code == 3
    assert "args: -a x y --long 1" in out
    assert 'ErrorMessage "oops"' in (ml / "output/failure").read_text()


def test_a_package_with_setup_py(ml: Path, start: Start) -> None:
    (ml / "code/setup.py").write_text("from setuptools import setup\nsetup(name='trainer', packages=['trainer'])\n")
    (ml / "code/trainer").mkdir()
    (ml / "code/trainer/__init__.py").write_text("")
    (ml / "code/trainer/task.py").write_text("import sys\nprint('task', sys.argv[1:])\n")
    code, out, err = _end(start({"sagemaker_program": "trainer.task", "k": "1"}))
    assert code == 0, err
    assert "task ['-k', '1']" in out


def test_a_program_that_is_not_there(ml: Path, start: Start) -> None:
    (ml / "code/other.py").write_text("")
    code, _, _ = _end(start({"sagemaker_program": "train.py"}))
    assert code == 1
    text = (ml / "output/failure").read_text()
    assert "train.py is not in the source directory, which holds: other.py" in text
    (ml / "code/other.py").unlink()
    (ml / "output/failure").unlink()
    _end(start({"sagemaker_program": "train.py"}))
    assert "which holds: nothing" in (ml / "output/failure").read_text()


def test_no_program_and_no_algorithm(ml: Path, start: Start) -> None:
    assert _end(start({}))[0] == 1
    assert "no built-in algorithm" in (ml / "output/failure").read_text()


@pytest.mark.parametrize("key", ["sagemaker_mpi_enabled", "sagemaker_parameter_server_enabled"])
def test_distributions_that_are_missing_are_refused(ml: Path, start: Start, key: str) -> None:
    (ml / "code/train.py").write_text("")
    assert _end(start({"sagemaker_program": "train.py", key: "true"}))[0] == 1
    assert key in (ml / "output/failure").read_text()


def test_a_configuration_that_is_damaged_is_a_framework_error(ml: Path, start: Start) -> None:
    (ml / "input/config/resourceconfig.json").write_text("{")
    assert _end(start({"sagemaker_program": "train.py"}))[0] == 1
    assert (ml / "output/failure").read_text().startswith("Framework Error: \nValueError: ")


def test_sigterm_reaches_the_script(ml: Path, start: Start) -> None:
    (ml / "code/train.py").write_text(
        "import signal, sys, time\n"
        "def stop(n, f):\n    open('../model/saved', 'w').write('yes')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\nprint('ready', flush=True)\ntime.sleep(600)\n"
    )
    process = start({"sagemaker_program": "train.py"})
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready":
            break
    process.send_signal(signal.SIGTERM)
    assert _end(process)[0] == 0
    assert (ml / "model/saved").read_text() == "yes"


def test_a_script_that_is_ended_has_not_failed(ml: Path, start: Start) -> None:
    (ml / "code/train.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(600)\n")
    process = start({"sagemaker_program": "train.py"})
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ready":
        pass
    process.send_signal(signal.SIGTERM)
    code, _, err = _end(process)
    assert code == 143
    assert "Training was ended with exit code 143.\nSIGTERM came: the job was stopped" in err
    assert "failed with" not in err


def test_output_comes_as_it_is_written(ml: Path, start: Start) -> None:
    (ml / "code/train.py").write_text("import sys\nprint('out')\nprint('err', file=sys.stderr)\ninput()\n")
    process = start({"sagemaker_program": "train.py"})
    assert process.stdout is not None
    assert process.stderr is not None
    assert any(line.strip() == "out" for line in process.stdout)
    assert process.stderr.readline().strip() == "err"
    process.kill()
    _end(process)
