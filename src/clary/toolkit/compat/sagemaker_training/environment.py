"""`environment.Environment()`: the job as AWS's documentation tells scripts to look at it."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any, Dict, List


class Environment(SimpleNamespace):
    """The training environment's values as attributes (`hosts`, `current_instance_group`, `hyperparameters`, `num_gpus`, ...)."""

    def __init__(self, **_: Any) -> None:
        values = json.loads(os.environ["SM_TRAINING_ENV"])
        super().__init__(**values, is_main=values.get("is_master"))

    def to_cmd_args(self) -> List[str]:
        """What the script was called with."""
        return [str(argument) for argument in json.loads(os.environ["SM_USER_ARGS"])]

    def to_env_vars(self) -> Dict[str, str]:
        """Every SM_ variable."""
        return {name: value for name, value in os.environ.items() if name.startswith("SM_")}
