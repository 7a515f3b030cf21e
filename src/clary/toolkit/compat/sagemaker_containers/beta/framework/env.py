"""`env.training_env()`."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace


def training_env() -> SimpleNamespace:
    """The training environment's values as attributes."""
    return SimpleNamespace(**json.loads(os.environ["SM_TRAINING_ENV"]))
