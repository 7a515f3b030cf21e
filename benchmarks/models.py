"""The models that the serving benchmarks serve, and the requests sent to them: the same bytes for Clary and for every peer.

The booster has 100 trees of depth 6 over 30 features. It is trained once, by an interpreter that has xgboost, on data from a fixed
seed, and kept beside the environments.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

FEATURES = 30
DISTINCT = 10_000
TRAIN = """
import sys, numpy, xgboost
rng = numpy.random.default_rng(7)
x = rng.normal(size=(20000, 30)).astype("float32")
y = (x[:, :10].sum(axis=1) + numpy.sin(3 * x[:, 10]) + rng.normal(size=20000) > 0).astype("float32")
booster = xgboost.train({"objective": "binary:logistic", "max_depth": 6, "nthread": 2}, xgboost.DMatrix(x, y), 100)
booster.save_model(sys.argv[1])
"""
OWN_CODE = b"""
import os
import numpy, xgboost

def model_fn(model_dir):
    booster = xgboost.Booster()
    booster.load_model(os.path.join(model_dir, "model.ubj"))
    booster.set_param({"nthread": 1})
    return booster

def input_fn(data, content_type):
    text = data.decode() if isinstance(data, bytes) else data
    return numpy.array([[float(v) for v in line.split(",")] for line in text.splitlines()], dtype="float32")

def predict_fn(rows, model):
    return model.inplace_predict(rows)

def output_fn(scores, accept):
    return ",".join(str(s) for s in scores)
"""
SLOW_CODE = b"""
import time

def model_fn(model_dir):
    return None

def input_fn(data, content_type):
    return data

def predict_fn(data, model):
    end = time.perf_counter() + 0.020
    while time.perf_counter() < end:
        pass
    return "1"

def output_fn(answer, accept):
    return answer
"""
NPY_CODE = b"""
import io, numpy

def model_fn(model_dir):
    return None

def input_fn(data, content_type):
    return numpy.load(io.BytesIO(data), allow_pickle=False)

def predict_fn(rows, model):
    return rows.sum()

def output_fn(answer, accept):
    return str(answer)
"""


def booster(python: str, folder: Path) -> Path:
    """The trained model as a file; made when it is not there yet."""
    path = folder / "booster-100x6x30.ubj"
    if not path.exists():
        fresh = folder / "fresh.ubj"
        subprocess.run([python, "-c", TRAIN, str(fresh)], check=True)
        fresh.replace(path)
    return path


def bodies(count: int = DISTINCT) -> list[bytes]:
    """Distinct CSV rows, always the same."""
    source = random.Random(11)
    return [",".join(f"{source.gauss(0, 1):.5f}" for _ in range(FEATURES)).encode() for _ in range(count)]
