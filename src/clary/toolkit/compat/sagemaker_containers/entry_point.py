"""`entry_point.run`: another script of the user's, as AWS's containers start the first."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, List, Mapping, Optional


def run(
    uri: str,
    user_entry_point: str,
    args: Optional[List[str]] = None,
    env_vars: Optional[Mapping[str, str]] = None,
    wait: bool = True,
    **_: Any,
) -> Any:
    """Run a Python file of the folder `uri`, or of the job's own code; answers the process. What fails raises, when it is waited for."""
    base = os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml"
    folder = uri if os.path.isdir(uri) else os.path.join(base, "code")
    command = [sys.executable, user_entry_point, *(args or [])]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **(env_vars or {})})
    if wait and process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    return process
