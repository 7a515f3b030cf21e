"""What the tests of preparation run inside its runtime begin with: `job(csv, recipe)` prepares, and answers the folder of its outputs."""

PROGRAM = """
import io, json, os, random, struct, sys, tarfile, tempfile
import numpy as np, pandas as pd
from pathlib import Path
from clary.toolkit.preparation import job as jobs
from clary.toolkit.preparation.values import BadValue
from clary.toolkit.preparation.sources import SourceError
from clary.toolkit.documents import DocumentError

def job(data, recipe, name="a.csv"):
    top = Path(tempfile.mkdtemp())
    (top / "data").mkdir()
    (top / "data" / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    (top / "recipe").write_text(recipe if isinstance(recipe, str) else json.dumps(recipe))
    jobs.prepare(str(top / "data"), str(top / "recipe"), str(top / "out"), 2)
    return top / "out"

def failure(data, recipe, name="a.csv"):
    try:
        job(data, recipe, name)
    except (BadValue, SourceError, DocumentError) as error:
        return str(error)
    return ""

def part(out, name):
    return pd.read_parquet(out / name / "part-00000.parquet")

def everything(out):
    return pd.concat([part(out, each.name) for each in sorted(out.iterdir()) if (each / "part-00000.parquet").exists()])

def bits(array):
    return [struct.pack("<d", value).hex() if value == value else "nan" for value in np.asarray(array, dtype=float).ravel()]

def served(out):
    '''The modules of the archive's own code, from a folder with nothing else on it.'''
    folder = Path(tempfile.mkdtemp())
    with tarfile.open(out / "model" / "model.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    for name in [each for each in sys.modules if each == "inference" or each.startswith("clary_preparation")]:
        del sys.modules[name]
    sys.path.insert(0, str(folder / "code"))
    import inference
    sys.path.pop(0)
    return inference, inference.model_fn(str(folder))
"""
