"""MLServer with its own XGBoost runtime, adaptive batching and a worker process per core.

`python mlserver_app.py MODEL PORT WORKERS FOLDER` writes its two settings files and becomes `mlserver start`.
"""

import json
import os
import sys

MODEL, PORT, WORKERS, FOLDER = sys.argv[1:]

if __name__ == "__main__":
    home = os.path.join(FOLDER, "served")
    os.makedirs(home, exist_ok=True)
    server = {
        "host": "127.0.0.1",
        "http_port": int(PORT),
        "grpc_port": int(os.environ.get("GRPC_PORT", "0")) or int(PORT) + 1,
        "metrics_endpoint": None,
        "parallel_workers": int(WORKERS),
        "debug": False,
    }
    model = {
        "name": "booster",
        "implementation": "mlserver_xgboost.XGBoostModel",
        "max_batch_size": 64,
        "max_batch_time": 0.001,
        "parameters": {"uri": MODEL},
    }
    for name, content in (("settings.json", server), ("model-settings.json", model)):
        with open(os.path.join(home, name), "w") as file:
            json.dump(content, file)
    os.environ["OMP_NUM_THREADS"] = "1"
    program = os.path.join(os.path.dirname(sys.executable), "mlserver")
    os.execv(program, [program, "start", home])
