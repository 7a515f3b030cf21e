"""PyTorch's toolkit: TorchScript by default, arrays as float tensors, `eval` and `no_grad`.

Requests are not stacked: which dimension is the batch is the model's secret. Importing this module imports torch."""

from __future__ import annotations

import os
from typing import Any, Tuple

import torch

from clary.toolkit import content
from clary.toolkit.frameworks.defaults import Defaults
from clary.toolkit.inference import LoadError


def _device() -> Any:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class PyTorchDefaults(Defaults):
    name = "pytorch"

    def model(self, model_dir: str) -> Any:
        path = os.path.join(model_dir, "model.pt")
        if not os.path.isfile(path):
            found = sorted(n for n in os.listdir(model_dir) if n.endswith((".pt", ".pth")))
            if len(found) != 1:
                raise LoadError(
                    "Exactly one .pth or .pt file is required for PyTorch models: {}. Or provide a model_fn.".format(
                        found
                    )
                )
            path = os.path.join(model_dir, found[0])
        return torch.jit.load(path, map_location=_device()).eval()

    def read(self, body: Any, content_type: str) -> Any:
        data = super().read(body, content_type)
        return torch.FloatTensor(data).to(_device())

    def predict(self, data: Any, model: Any) -> Any:
        with torch.no_grad():
            if hasattr(model, "eval"):
                model.eval()
            return model(data)

    def write(self, prediction: Any, accept: str) -> Tuple[bytes, str]:
        if isinstance(prediction, torch.Tensor):
            prediction = prediction.detach().cpu().numpy()
        return content.encode(prediction, accept)

    def set_threads(self, model: Any, count: int) -> None:
        torch.set_num_threads(count)


DEFAULTS = PyTorchDefaults()
