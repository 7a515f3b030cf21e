"""What is written down of a model's folders."""

from __future__ import annotations

import pytest

from clary.domain.errors import Invalid
from clary.domain.models.contents import INSIDE, contents


def test_a_model_without_code() -> None:
    found = contents((), (), {"model/requirements.txt": "a"}.get)  # type: ignore[arg-type]
    assert found == {
        "code": False,
        "inside": False,
        "scripts": [],
        "programs": [],
        "requirements": "",
        "pinned": "",
    }


def test_code_beside_the_model_counts_before_code_inside_it() -> None:
    texts = {"code/requirements.txt": "-r more.txt\n", "code/more.txt": "b==1\n", "model/code/requirements.txt": "a\n"}
    found = contents(("code", INSIDE), ("serve.py", "a.py", "more.txt"), lambda path: texts.get(path, ""))
    assert (found["code"], found["inside"]) == (True, True)
    assert (found["scripts"], found["programs"]) == (["a.py", "serve.py"], ["serve.py"])
    assert found["requirements"] == "b==1\n"


def test_requirements_that_leave_the_code_are_refused() -> None:
    texts = {"model/code/requirements.txt": "-r ../../x\n", "model/x": "b"}
    with pytest.raises(Invalid, match="is not in the source"):
        contents((INSIDE,), ("requirements.txt",), lambda path: texts.get(path, ""))


@pytest.mark.parametrize("flavour", [False, True])
def test_what_mlflow_pinned_counts_only_where_the_model_is_mlflows(flavour: bool) -> None:
    texts = {"model/requirements.txt": "mlflow==2"} | ({"model/MLmodel": "flavors:"} if flavour else {})
    assert contents((), (), lambda path: texts.get(path, ""))["pinned"] == ("mlflow==2" if flavour else "")
