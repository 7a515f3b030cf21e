"""model.tar.gz of a fitted preparation: its state, and a copy of the code that fitted it, for the scikit-learn image (AWS's as well)."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Mapping

_SERVED = ("values.py", "fitted.py", "serving.py")
_PACKAGE = "clary_preparation"
_INFERENCE = "from {0}.serving import input_fn, model_fn, output_fn, predict_fn  # noqa: F401\n".format(_PACKAGE)


def archive(state: Mapping[str, Any], folder: Path) -> str:
    """Write it into a folder; its path. The same state makes the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    own = Path(__file__).parent
    members = {"preparation.json": json.dumps(_kept(state), allow_nan=False), "code/inference.py": _INFERENCE}
    members["code/{}/__init__.py".format(_PACKAGE)] = ""
    for name in _SERVED:
        members["code/{}/{}".format(_PACKAGE, name)] = (own / name).read_text(encoding="utf-8")
    with open(folder / "model.tar.gz", "wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name, text in members.items():
                content = text.encode("utf-8")
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content), 0o644
                tar.addfile(info, io.BytesIO(content))
    return str(folder / "model.tar.gz")


def _kept(state: Mapping[str, Any]) -> Dict[str, Any]:
    columns: List[Dict[str, Any]] = [
        {name: value for name, value in each.items() if name != "fold_tables"} for each in state["columns"]
    ]
    return {**state, "columns": columns}
