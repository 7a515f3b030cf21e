"""`rabit_run`: a function on all hosts of a job, joined by xgboost's collective."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Optional

import xgboost

from clary.toolkit.algorithms import xgboost_hosts


def rabit_run(
    exec_fun: Callable[..., Any],
    args: Dict[str, Any],
    include_in_training: bool,
    hosts: List[str],
    current_host: str,
    first_port: Optional[int] = None,
    second_port: Optional[int] = None,
    max_connect_attempts: Optional[int] = None,
    connect_retry_timeout: int = 3,
    update_rabit_args: bool = False,
) -> None:
    """Every host must have data: `include_in_training` False is refused. Ports and retries are the toolkit's own."""
    if not include_in_training:
        raise ValueError("Every host of a distributed XGBoost job must have data here.")
    with xgboost_hosts.joined(hosts, current_host, os.environ.get("TRAINING_JOB_ARN", "")):
        more = {"is_master": xgboost.collective.get_rank() == 0} if update_rabit_args else {}
        exec_fun(**args, **more)
