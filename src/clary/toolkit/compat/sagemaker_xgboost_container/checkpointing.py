"""`checkpointing.train(train_args, checkpoint_dir)`: goes on from the newest checkpoint and keeps one of each round, for spot training."""

from __future__ import annotations

import os
from typing import Any, Mapping, Optional, Tuple

import xgboost

from clary.toolkit.algorithms.xgboost import Checkpoints, newest_checkpoint


def load_checkpoint(checkpoint_dir: str, max_try: int = 5) -> Tuple[Optional[str], int]:
    """The newest checkpoint's path and the rounds that it has; (None, 0) without one."""
    return newest_checkpoint(checkpoint_dir if os.path.isdir(checkpoint_dir) else None)


def save_checkpoint(checkpoint_dir: str, **_: Any) -> Any:
    """A callback of `xgboost.train` that keeps the newest few."""
    os.makedirs(checkpoint_dir, exist_ok=True)
    return Checkpoints(checkpoint_dir)


def train(train_args: Mapping[str, Any], checkpoint_dir: str) -> Any:
    """`xgboost.train(**train_args)`, of which only the rounds are done that no checkpoint has. The first of several hosts writes."""
    arguments = dict(train_args)
    rounds = int(arguments.pop("num_boost_round", 10))
    before, done = load_checkpoint(checkpoint_dir)
    if before is not None and done >= rounds:
        return xgboost.Booster(model_file=before)
    callbacks = list(arguments.pop("callbacks", None) or ())
    if xgboost.collective.get_rank() == 0:
        callbacks.append(save_checkpoint(checkpoint_dir))
    if before is not None:
        arguments["xgb_model"] = before
    return xgboost.train(**arguments, num_boost_round=rounds - done, callbacks=callbacks)
