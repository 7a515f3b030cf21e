"""MLflow's scoring server with a worker process per core. It has no batching of its own.

`python mlflow_app.py MODEL PORT WORKERS FOLDER` logs the booster as an MLflow model and becomes `mlflow models serve`.
"""

import os
import shutil
import sys

MODEL, PORT, WORKERS, FOLDER = sys.argv[1:]

if __name__ == "__main__":
    import mlflow.xgboost
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(MODEL)
    home = os.path.join(FOLDER, "served")
    shutil.rmtree(home, ignore_errors=True)
    mlflow.xgboost.save_model(booster, home, pip_requirements=[])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", home, "--env-manager", "local"]
    os.execve(sys.executable, [*command, "--host", "127.0.0.1", "--port", PORT, "--workers", WORKERS], environment)
