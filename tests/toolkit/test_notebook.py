"""What surrounds papermill; a whole notebook is run by the SDK's `NotebookJobStep` in `tests/sdk`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clary.toolkit import notebook
from clary.toolkit.failure import UserError

GIVEN = {"SM_INPUT_NOTEBOOK_NAME": "a.ipynb", "SM_OUTPUT_NOTEBOOK_NAME": "b.ipynb"}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("work.ipynb", "work.ipynb"),
        ("work-2026-05-01T10:20:30.123Z.ipynb", "work-2026-05-01T10-20-30-123Z.ipynb"),
        ("work", "work"),
    ],
)
def test_the_name_of_the_output(given: str, name: str) -> None:
    assert notebook.output_name(given) == name


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "SM_INPUT_NOTEBOOK_NAME must name a file; it is ''"),
        ({**GIVEN, "SM_OUTPUT_NOTEBOOK_NAME": "../b.ipynb"}, "SM_OUTPUT_NOTEBOOK_NAME must name a file"),
        ({**GIVEN, "SM_JOB_DEF_VERSION": "2.0"}, "Cannot handle SageMaker job definition version: 2.0"),
    ],
)
def test_variables_that_are_not_understood(variables: dict[str, str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        notebook.NotebookPlaces(variables)
    assert words in str(caught.value)


def test_the_digits_tell_which_files_are_there(tmp_path: Path) -> None:
    places = notebook.NotebookPlaces(GIVEN, str(tmp_path))
    assert places.flags() == "000"
    os.makedirs(places.data)
    for name in ("a.ipynb", notebook.LOG):
        (Path(places.data) / name).touch()
    assert places.flags() == "101"


def test_an_init_script_gives_its_variables_or_fails(tmp_path: Path) -> None:
    script = tmp_path / "init.sh"
    script.write_text("export WORD='two\nlines'\nHIDDEN=1\n")
    found = notebook.sourced(str(script))
    assert found["WORD"] == "two\nlines"
    assert "HIDDEN" not in found
    script.write_text("exit 3\n")
    with pytest.raises(UserError, match=r"init.sh ended with exit code 3"):
        notebook.sourced(str(script))


def test_parameters_are_the_hyperparameters(tmp_path: Path) -> None:
    assert notebook.parameters(str(tmp_path / "none.json")) == {}
    (tmp_path / "h.json").write_text('{"word": "5"}')
    assert notebook.parameters(str(tmp_path / "h.json")) == {"word": "5"}


def test_a_notebook_that_is_not_there_is_told_in_the_failure_file(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom clary.toolkit import notebook\n"
        "found = notebook.NotebookPlaces\n"
        f"notebook.NotebookPlaces = lambda variables: found(variables, {str(tmp_path)!r})\n"
        "sys.exit(notebook.main())\n"
    )
    environment = {**os.environ, **GIVEN, "SM_EXECUTION_INPUT_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    told = (tmp_path / "output" / "failure").read_text()
    assert told == f"[SM-001] Error with Prepare the input notebook\nCannot find input notebook: {tmp_path}/a.ipynb"
