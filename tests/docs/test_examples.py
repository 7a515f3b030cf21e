"""The documentation's runnable examples, as a reader would run them: against a real server, with the environment of `clary env`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.docs.examples import Program, files_of, program_of
from tests.live import ROOT, Server

from clary.app.cli.environment import variables
from clary.app.cli.site import Site

PAGE = """\
# A page

<!-- runnable -->
```python
a = 1
```

```python
a = 2  # only shown
```

<!-- runnable -->
```python
assert a == 1
```
"""


def pages() -> list[Path]:
    return [
        path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if program_of(path.read_text())
    ]


def test_marked_blocks_are_one_program_whose_lines_keep_their_numbers() -> None:
    found = program_of(PAGE)
    assert found is not None
    assert found.clients == "boto3"
    lines = found.text.splitlines()
    assert [(n, line) for n, line in enumerate(lines, 1) if line] == [(5, "a = 1"), (14, "assert a == 1")]


def test_a_page_may_have_files_beside_its_program() -> None:
    page = (
        "<!-- saved as train.py -->\n```python\na = 1\n\nb = 2\n```\n<!-- runnable -->\n```python\nimport train\n```\n"
    )
    assert files_of(page) == {"train.py": "a = 1\n\nb = 2\n"}
    assert program_of(page) == Program("boto3", "\n" * 8 + "import train\n")


@pytest.mark.parametrize(
    "page",
    [
        "<!-- saved as a.py -->\ntext\n",
        "<!-- saved as a.py -->\n```python\n",
        2 * "<!-- saved as a.py -->\n```python\n```\n",
    ],
)
def test_a_file_without_a_text_of_its_own_is_an_error(page: str) -> None:
    with pytest.raises(ValueError):
        files_of(page)


def test_readme_has_a_whole_example() -> None:
    page = (ROOT / "README.md").read_text()
    assert "train.py" in files_of(page)
    assert program_of(page) is not None


def test_a_page_without_marks_has_no_program() -> None:
    assert program_of("# A page\n\n```python\na = 1\n```\n") is None


def test_a_page_may_name_its_clients() -> None:
    assert program_of("<!-- runnable: v2 -->\n```python\nimport sagemaker\n```\n") == Program(
        "v2", "\n\nimport sagemaker\n"
    )


@pytest.mark.parametrize(
    "page",
    [
        "<!-- runnable -->\n\n```python\na = 1\n```\n",
        "<!-- runnable -->\n```bash\ntrue\n```\n",
        "<!-- runnable -->\n```python\na = 1\n",
        "<!-- runnable: java -->\n```python\na = 1\n```\n",
        "<!-- runnable, perhaps -->\n```python\na = 1\n```\n",
        "<!-- runnable -->\n```python\na = 1\n```\n<!-- runnable: v3 -->\n```python\na = 1\n```\n",
    ],
)
def test_a_mark_that_would_run_nothing_is_an_error(page: str) -> None:
    with pytest.raises(ValueError):
        program_of(page)


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_example_runs_as_it_stands(server: Server, page: Path, tmp_path: Path) -> None:
    program = program_of(page.read_text())
    assert program is not None
    python = (
        Path(sys.executable) if program.clients == "boto3" else ROOT / f".venv-{program.clients}" / "bin" / "python"
    )
    if not python.exists():
        pytest.skip(f"{python.parent.parent.name} is not there: scripts/test makes it")
    for name, text in files_of(page.read_text()).items():
        (tmp_path / name).write_text(text)
    written = tmp_path / f"{page.stem}.py"
    written.write_text(program.text)
    site = Site(server.settings, {"pid": 0})
    environment = variables(site, None, server.environment)
    # A reader has `clary` on the path, and one Clary.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment |= {"PATH": path, "CLARY_DIR": server.settings.dir}
    done = server.run([str(python), str(written)], timeout=280, cwd=str(tmp_path), **environment)
    assert done.returncode == 0, f"{page.relative_to(ROOT)}\n{done.stdout}{done.stderr}"
