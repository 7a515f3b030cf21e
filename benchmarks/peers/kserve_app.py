"""KServe's model server with a process per core. Its batcher is a sidecar of the cluster, not part of the server.

`python kserve_app.py MODEL PORT WORKERS FOLDER`
"""

import sys

import kserve
import numpy
import xgboost

MODEL, PORT, WORKERS, _ = sys.argv[1:]


class Booster(kserve.Model):
    def __init__(self) -> None:
        super().__init__("booster")
        self.load()

    def load(self) -> bool:
        self.booster = xgboost.Booster()
        self.booster.load_model(MODEL)
        self.booster.set_param({"nthread": 1})
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):
        return {
            "predictions": self.booster.inplace_predict(numpy.array(payload["instances"], dtype="float32")).tolist()
        }


if __name__ == "__main__":
    server = kserve.ModelServer(
        http_port=int(PORT), workers=int(WORKERS), enable_grpc=False, enable_docs_url=False, access_log_format=None
    )
    server.start([Booster()])
