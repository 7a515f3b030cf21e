"""XGBoost for the built-in algorithm's server, which reads its data itself: without SciPy and the wrappers for scikit-learn."""

from __future__ import annotations

from clary.toolkit import borrowed

borrowed.lean("xgboost", without=("scipy.sparse", "xgboost.sklearn", "xgboost.plotting"))

import xgboost  # noqa: E402

__all__ = ["xgboost"]
