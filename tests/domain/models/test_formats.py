"""Requirements of MLflow model directories."""

from __future__ import annotations

import pytest

from clary.domain.models import formats


@pytest.mark.parametrize(
    "line", ["mlflow==2.9.2", "mlflow", "mlflow-skinny>=3", "mlflow[extras]==2.1", "MLflow==3.1  # logged with"]
)
def test_mlflow_itself_is_the_runtimes(line: str) -> None:
    assert formats.requirements(f"{line}\nscikit-learn==1.4.2\n") == "scikit-learn==1.4.2\n"


@pytest.mark.parametrize(
    "line", ["mlflow-export-import==1.2", "cloudpickle==2.2.1", "-c constraints.txt", "# mlflow==1"]
)
def test_everything_else_stands(line: str) -> None:
    assert formats.requirements(line) == line + "\n"
