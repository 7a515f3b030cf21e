"""Notebook jobs: training jobs whose command is that of AWS's images that run notebooks (SDK v2's `NotebookJobStep`). Pure.

Those images have a program of that name; here the toolkit's own takes its place, in the runtime of whatever image the job names, and
papermill is added to that. Sources: reference/lifecycle.md 8.3, and the program in the published SageMaker Distribution images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.domain.jobs.spec import JobSpec

PROGRAM = "amazon_sagemaker_scheduler"
REQUIREMENTS = "papermill==2.7.0\nipykernel==7.4.0\npip\n"
"""What the job needs besides its runtime; pip is what `%pip install` of a notebook calls."""


def asked(request: Mapping[str, Any]) -> bool:
    """Whether a CreateTrainingJob request asks for a notebook to be run."""
    return tuple((request.get("AlgorithmSpecification") or {}).get("ContainerEntrypoint") or ()) == (PROGRAM,)


def runs(spec: JobSpec) -> bool:
    """Whether the job runs a notebook."""
    return spec.command == (PROGRAM,)


def command(python: str, library: str) -> tuple[str, ...]:
    """The toolkit's program. It is not started by `-m` and PYTHONPATH, which the notebook's kernel would inherit."""
    program = f"import sys; sys.path.insert(0, {library!r}); from clary.toolkit.notebook import main; sys.exit(main())"
    return python, "-c", program
