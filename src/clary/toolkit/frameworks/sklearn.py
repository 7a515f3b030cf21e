"""scikit-learn's toolkit: `model.predict`, text bodies as float32, no default model_fn.

Importing this module imports scikit-learn: that is what a zygote does before it forks."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import sklearn.pipeline  # noqa: F401  (scikit-learn, and what most pickled models begin with)

from clary.toolkit import content
from clary.toolkit.frameworks.defaults import Defaults, numpy_rows


class SklearnDefaults(Defaults):
    """Requests of plain numbers are stacked: estimators treat rows one by one."""

    name = "sklearn"
    content_type = content.JSON
    batchable = True

    def read(self, body: Any, content_type: str) -> Any:
        data = super().read(body, content_type)
        return data.astype(np.float32) if content.base(content_type) in content.TEXT else data

    def predict(self, data: Any, model: Any) -> Any:
        # A lone row is one-dimensional after decoding: AWS's multi-model endpoints reshape it, single ones fail on it.
        if getattr(data, "ndim", 2) == 1:
            data = data.reshape(1, -1)
        return model.predict(data)

    def rows(self, body: bytes, content_type: str) -> Optional[Any]:
        return numpy_rows(body, content_type, np.float32 if content.base(content_type) in content.TEXT else None)


DEFAULTS = SklearnDefaults()
