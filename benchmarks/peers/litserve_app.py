"""LitServe as its guide to throughput has it: batches of up to 64, several API servers, a worker per core.

`python litserve_app.py MODEL PORT WORKERS FOLDER`
"""

import sys

import litserve
import numpy
import xgboost

MODEL, PORT, WORKERS, _ = sys.argv[1:]


class Booster(litserve.LitAPI):
    def setup(self, device):
        self.booster = xgboost.Booster()
        self.booster.load_model(MODEL)
        self.booster.set_param({"nthread": 1})

    def decode_request(self, request):
        return request["input"]

    def batch(self, inputs):
        return numpy.array(inputs, dtype="float32")

    def predict(self, rows):
        return self.booster.inplace_predict(rows)

    def unbatch(self, scores):
        return scores.tolist()

    def encode_response(self, score):
        return {"output": score}


if __name__ == "__main__":
    server = litserve.LitServer(
        Booster(max_batch_size=64, batch_timeout=0.001),
        accelerator="cpu",
        workers_per_device=int(WORKERS),
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1", port=int(PORT), num_api_servers=int(WORKERS), generate_client_file=False, log_level="warning"
    )
