"""XGBoost's script mode: csv, libsvm and recordio-protobuf into a DMatrix, `predict`, csv or json back.

Importing this module imports xgboost."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import xgboost

from clary.toolkit import content, recordio, tables
from clary.toolkit.frameworks.defaults import Defaults


class XGBoostDefaults(Defaults):
    name = "xgboost"
    accept = content.CSV
    content_type = content.JSON  # as the container has it, although its own input_fn does not read it
    batchable = True

    def read(self, body: Any, content_type: str) -> Any:
        data = body.encode() if isinstance(body, str) else body
        return xgboost.DMatrix(_rows(data, content_type))

    def predict(self, data: Any, model: Any) -> Any:
        if isinstance(model, xgboost.Booster):
            if not isinstance(data, xgboost.DMatrix):
                data = xgboost.DMatrix(data)
            best = model.attributes().get("best_iteration")
            rounds = (0, int(best) + 1) if best is not None else (0, 0)
            return model.predict(data, iteration_range=rounds, validate_features=False)
        return model.predict(data)

    def write(self, prediction: Any, accept: str) -> Tuple[bytes, str]:
        chosen = content.choose(accept, (content.CSV, content.JSON, content.NPY, content.RECORDIO), content.CSV)
        if chosen is None:
            raise content.UnsupportedFormat(accept)
        if chosen != content.RECORDIO:
            return content.encode(prediction, chosen)
        rows = content.plain(prediction)
        lists = [row if isinstance(row, list) else [row] for row in (rows if isinstance(rows, list) else [rows])]
        return recordio.write(recordio.build({}, {"score": row}) for row in lists), content.RECORDIO

    def rows(self, body: bytes, content_type: str) -> Optional[Any]:
        return _rows(body, content_type)

    def predict_rows(self, rows: Any, model: Any) -> Any:
        return self.predict(rows, model)

    def set_threads(self, model: Any, count: int) -> None:
        if isinstance(model, xgboost.Booster):
            model.set_param({"nthread": count})
        elif hasattr(model, "n_jobs"):
            model.n_jobs = count


def _rows(data: bytes, content_type: str) -> Any:
    kind = content.base(content_type)
    try:
        if kind == content.CSV:
            return tables.csv(data)
        if kind in content.LIBSVM_TYPES:
            sparse = tables.libsvm(data, labelled=False)
            return sparse.dense(sparse.width)
        if kind == content.RECORDIO:
            return tables.records(data)[0]
    except tables.ParseError as error:
        raise content.BadContent("Unable to read the request as {}: {}".format(content_type, error)) from error
    raise content.UnsupportedFormat(content_type)


DEFAULTS = XGBoostDefaults()
