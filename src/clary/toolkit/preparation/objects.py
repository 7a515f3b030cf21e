"""The steps of a fitted column as scikit-learn's own fitted objects: the statistics are ours, the classes and the arithmetic theirs.

A test holds both to the same bits. Each object is fitted on a toy and then given the statistics, so that whatever else a version of
scikit-learn keeps in it is there.
"""

from __future__ import annotations

from typing import Any, List, Mapping

import numpy as np

_TOY = [[0.0], [1.0]]


def estimators(state: Mapping[str, Any]) -> List[Any]:
    """The objects of one column, in the order in which they are used; bounds are a FunctionTransformer, as scikit-learn has no clipper.
    Texts and dates have none: HashingVectorizer has no state, and scikit-learn takes no date apart."""
    if state["kind"] == "number":
        return [*_bounds(state), *_imputer(state), *_bins(state), *_scaler(state)]
    return [*_imputer(state), _encoder(state)] if state["kind"] == "category" else []


def _bounds(state: Mapping[str, Any]) -> List[Any]:
    from sklearn.preprocessing import FunctionTransformer

    low, high = state.get("low"), state.get("high")
    if low is None and high is None:
        return []
    return [FunctionTransformer(np.clip, kw_args={"a_min": low, "a_max": high}).fit(_TOY)]


def _imputer(state: Mapping[str, Any]) -> List[Any]:
    from sklearn.impute import SimpleImputer

    fill = state.get("fill")
    if fill is None:
        return []
    if isinstance(fill, str):
        return [
            SimpleImputer(strategy="constant", fill_value=fill, missing_values=None).fit(
                np.array([["a"]], dtype=object)
            )
        ]
    made = SimpleImputer(strategy="mean").fit(_TOY)
    made.statistics_ = np.array([fill])
    return [made]


def _bins(state: Mapping[str, Any]) -> List[Any]:
    from sklearn.preprocessing import KBinsDiscretizer

    if state.get("bins") is None:
        return []
    encode = "onehot-dense" if state["encode"] == "one_hot" else "ordinal"
    count = len(state["bins"]) - 1
    made = KBinsDiscretizer(n_bins=max(count, 2), encode=encode, strategy="uniform").fit(
        np.linspace(0, 1, max(count, 2) + 1).reshape(-1, 1)
    )
    made.bin_edges_ = np.array([np.asarray(state["bins"], dtype=np.float64)], dtype=object if count == 1 else None)
    made.n_bins_ = np.array([count])
    return [made]


def _scaler(state: Mapping[str, Any]) -> List[Any]:
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    if state.get("times") is not None:
        made = MinMaxScaler().fit(_TOY)
        made.scale_, made.min_ = np.array([state["times"]]), np.array([state["plus"]])
        return [made]
    if state.get("center") is None:
        return []
    if state.get("how") == "robust":
        made = RobustScaler().fit(_TOY)
        made.center_, made.scale_ = np.array([state["center"]]), np.array([state["scale"]])
        return [made]
    made = StandardScaler().fit(_TOY)
    made.mean_, made.scale_ = np.array([state["center"]]), np.array([state["scale"]])
    made.var_ = made.scale_**2
    return [made]


def _encoder(state: Mapping[str, Any]) -> Any:
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

    categories = np.array(state["categories"], dtype=object)
    toy = categories.reshape(-1, 1)
    strict = state["unknown"] == "error"
    if state["encode"] == "one_hot":
        return OneHotEncoder(
            categories=[categories], handle_unknown="error" if strict else "ignore", sparse_output=False
        ).fit(toy)
    if state["encode"] == "ordinal":
        unknown = {} if strict else {"handle_unknown": "use_encoded_value", "unknown_value": -1}
        return OrdinalEncoder(categories=[categories], **unknown).fit(toy)
    two = np.array([["a"], ["a"], ["b"], ["b"]], dtype=object)
    made = TargetEncoder(target_type="continuous", smooth=state["smooth"], cv=2).fit(two, [0.0, 1.0, 2.0, 3.0])
    made.categories_, made.encodings_, made.target_mean_ = [categories], [np.array(state["table"])], state["default"]
    return made
