"""Ray Serve with its throughput settings: RAY_SERVE_THROUGHPUT_OPTIMIZED, request batching, a replica per core.

`python rayserve_app.py MODEL PORT WORKERS FOLDER`
"""

import os
import sys
import time

MODEL, PORT, WORKERS, FOLDER = sys.argv[1:]
os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray  # noqa: E402 - reads the environment when imported
from ray import serve  # noqa: E402


@serve.deployment(num_replicas=int(WORKERS), max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.5})
class Booster:
    def __init__(self, model: str) -> None:
        import xgboost

        self.booster = xgboost.Booster()
        self.booster.load_model(model)
        self.booster.set_param({"nthread": 1})

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)
    async def predict(self, inputs: list) -> list:
        import numpy

        return self.booster.inplace_predict(numpy.array(inputs, dtype="float32")).tolist()

    async def __call__(self, request) -> dict:
        return {"output": await self.predict((await request.json())["input"])}


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=max(2, int(WORKERS)))
    serve.start(http_options={"host": "127.0.0.1", "port": int(PORT)})
    serve.run(Booster.bind(MODEL))
    while True:
        time.sleep(60)
