"""`clary.prepare`: preparation as a library inside runtimes, with scikit-learn's names.

    from clary.prepare import Preparation

    preparation = Preparation("recipe.yaml").fit(frame)         # a pandas DataFrame: the training rows, target and all
    features = preparation.transform(other)                     # a DataFrame of float64
    preparation.get_feature_names_out()
    preparation.estimators_["age"]                              # scikit-learn's own fitted objects
    Preparation.load("/opt/ml/model")                           # what a preparation job made

It is the code that jobs and endpoints run. The sandbox shows this file as the module `clary.prepare`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Tuple

import numpy as np

from clary.toolkit.preparation import fitted, objects, passes, recipe
from clary.toolkit.preparation.passes import RowBatch
from clary.toolkit.preparation.recipe import CATEGORY, DATE, NUMBER, Recipe
from clary.toolkit.preparation.values import Values, coded, finite, numbers

__all__ = ["Preparation"]
_ALL = {"by": "random", "parts": {recipe.TRAIN: 1.0}}


class Preparation:
    """A transformer. `recipe`: a path, the text of one (YAML or JSON), or its plain value; how it splits is left to whoever fits."""

    def __init__(self, recipe: Any) -> None:
        self.recipe = recipe

    def get_params(self, deep: bool = True) -> Dict[str, Any]:
        return {"recipe": self.recipe}

    def set_params(self, **parameters: Any) -> Preparation:
        for name, value in parameters.items():
            if name != "recipe":
                raise ValueError("Preparation has one parameter, recipe; not {!r}".format(name))
            self.recipe = value
        return self

    def fit(self, X: Any, y: Any = None) -> Preparation:
        """Learn of all rows of a DataFrame, which has the target's column (or `y` is it). DocumentError, BadValue."""
        self._learn(X, y)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit, and transform the same rows: target encodings leave out each row's own fold."""
        learnt, frame = self._learn(X, y)
        made: List[passes.Made] = []
        passes.transform(frame, learnt, _itself, made.append)
        return _frame(
            {name: np.concatenate([dict(each.features)[name] for each in made]) for name, _ in made[0].features}, X
        )

    def _learn(self, X: Any, y: Any) -> Tuple[passes.Learnt, _Frame]:
        given = dict(_read(self.recipe))
        given["split"] = _ALL
        target = given.get("target")
        name = target["column"] if isinstance(target, dict) else target
        if y is not None and name is not None:
            X = X.assign(**{name: y})
        frame = _Frame(X)
        learnt = passes.learn(frame, recipe.bind(given, frame.kinds()))
        self.state_ = {
            **learnt.state,
            "columns": [{n: v for n, v in each.items() if n != "fold_tables"} for each in learnt.state["columns"]],
        }
        return learnt, frame

    def transform(self, X: Any) -> Any:
        """The features of a DataFrame's rows, in order, with its index. BadValue."""
        made = self._fitted().transform(_Frame(X).rows(self.state_["inputs"], self.state_["missing"]))
        return _frame(dict(made), X)

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        return np.array(self._fitted().names, dtype=object)

    @property
    def estimators_(self) -> Dict[str, List[Any]]:
        """Of each column scikit-learn's own fitted objects, in order."""
        self._fitted()
        return {each["name"]: objects.estimators(each) for each in self.state_["columns"]}

    def save(self, folder: str) -> str:
        """Write `model.tar.gz`, the first container of an inference pipeline, into a folder; its path."""
        from clary.toolkit.preparation import packing

        self._fitted()
        return packing.archive(self.state_, Path(folder))

    @classmethod
    def load(cls, folder: str) -> Preparation:
        """What a model archive holds, extracted into a folder."""
        made = cls(None)
        with open(os.path.join(folder, "preparation.json"), encoding="utf-8") as file:
            made.state_ = json.load(file)
        made._fitted()
        return made

    def _fitted(self) -> fitted.Preparation:
        if not hasattr(self, "state_"):
            raise AttributeError("This Preparation is not fitted yet: call fit first.")
        return fitted.Preparation(self.state_)


def _read(given: Any) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return recipe.parse(json.dumps(given))
    text = str(given)
    if "\n" not in text and not text.lstrip().startswith("{"):
        text = Path(text).read_text(encoding="utf-8")
    return recipe.parse(text)


class _Frame:
    """A DataFrame as a source."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def kinds(self) -> Dict[str, str]:
        kinds = {"i": NUMBER, "u": NUMBER, "f": NUMBER, "M": DATE}
        return {
            str(name): kinds.get(getattr(dtype, "kind", "O"), CATEGORY) for name, dtype in self._frame.dtypes.items()
        }

    def batches(self, bound: Recipe, names: Tuple[str, ...] = ()) -> Iterator[RowBatch]:
        inputs = [
            {"name": name, "kind": kind, "invalid": next((c.invalid for c in bound.columns if c.name == name), "error")}
            for name, kind in bound.inputs.items()
        ]
        yield RowBatch(self.rows(inputs, bound.missing), None, len(self._frame), 0)

    def rows(self, inputs: Any, missing: Any) -> Dict[str, Values]:
        nothing = {"", *missing}
        absent = [each["name"] for each in inputs if each["name"] not in self._frame]
        if absent:
            raise KeyError("The frame has no column {}.".format(", ".join(absent)))
        return {each["name"]: self._values(each, nothing) for each in inputs}

    def _values(self, wanted: Mapping[str, Any], nothing: Any) -> Values:
        column = self._frame[wanted["name"]]
        if wanted["kind"] == NUMBER and getattr(column.dtype, "kind", "O") in "iufb":
            return finite(column.to_numpy(dtype=np.float64, na_value=np.nan))
        texts = [_text(value, nothing) for value in column.tolist()]
        return numbers(texts, wanted["name"], wanted["invalid"]) if wanted["kind"] == NUMBER else coded(texts)


def _text(value: Any, nothing: Any) -> Any:
    if value is None or value != value or type(value).__name__ in ("NAType", "NaTType"):
        return None
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return None if text in nothing else text


def _itself(made: passes.Made) -> passes.Made:
    return made


def _frame(columns: Mapping[str, Any], like: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(dict(columns), index=like.index)
