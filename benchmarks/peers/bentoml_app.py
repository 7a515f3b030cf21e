"""BentoML with adaptive batching and a worker per core.

`python bentoml_app.py MODEL PORT WORKERS FOLDER` starts `bentoml serve` on this very file.
"""

import os
import sys

import bentoml
import numpy
import xgboost


@bentoml.service(
    workers=int(os.environ.get("WORKERS", "1")),
    traffic={"timeout": 60},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Booster:
    def __init__(self) -> None:
        self.booster = xgboost.Booster()
        self.booster.load_model(os.environ["MODEL"])
        self.booster.set_param({"nthread": 1})

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, rows: numpy.ndarray) -> numpy.ndarray:
        return self.booster.inplace_predict(rows.astype("float32"))


if __name__ == "__main__":
    model, port, workers, folder = sys.argv[1:]
    here = os.path.dirname(os.path.abspath(__file__))
    environment = {
        **os.environ,
        "MODEL": model,
        "WORKERS": workers,
        "BENTOML_HOME": folder,
        "BENTOML_DO_NOT_TRACK": "True",
    }
    command = [sys.executable, "-m", "bentoml", "serve", "bentoml_app:Booster", "--working-dir", here]
    os.execve(sys.executable, [*command, "--host", "127.0.0.1", "--port", port], environment)
