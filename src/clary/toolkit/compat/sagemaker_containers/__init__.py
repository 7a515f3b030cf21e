"""The parts of AWS's older container toolkit that scripts import: `training_env()` and `beta.framework`."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace


def training_env() -> SimpleNamespace:
    """The training environment's values as attributes (`hosts`, `current_host`, `num_gpus`, `channel_input_dirs`, ...)."""
    return SimpleNamespace(**json.loads(os.environ["SM_TRAINING_ENV"]))
