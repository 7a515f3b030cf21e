"""Remote functions of the SageMaker SDK (`@remote`, `@step`): what a job that runs one needs, told by its own command line. Pure.

The SDK pickles the user's function and starts it by a script of its own, which ends unless the job's Python is the caller's and the SDK is
there. AWS's base images have both; here they are added to the runtime of whatever image the job names. Source: reference/lifecycle.md 8.6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from clary.domain.jobs.spec import JobSpec

DRIVER = "/opt/ml/input/data/sagemaker_remote_function_bootstrap/job_driver.sh"
_RELEASE = re.compile(r"3\.\d{1,2}")
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc|\.post)\d+)?")


@dataclass(frozen=True, slots=True)
class RemoteClient:
    """The program that called the function: the release of its Python ("3.10"), and the version of its SageMaker SDK; "" not told."""

    python: str
    sdk: str

    @property
    def requirements(self) -> str:
        """What the job needs besides its runtime: the very SDK that pickled the function, and pip for the user's own requirements."""
        return f"pip\nsagemaker=={self.sdk}\n" if self.sdk else "pip\nsagemaker\n"


def client_of(spec: JobSpec) -> RemoteClient | None:
    """None: the job runs no remote function. What is told in another form than a version is passed over: the SDK's script judges it."""
    if DRIVER not in spec.command:
        return None
    python, sdk = (
        _after(spec.arguments, name) for name in ("--client_python_version", "--client_sagemaker_pysdk_version")
    )
    return RemoteClient(python if _RELEASE.fullmatch(python) else "", sdk if _VERSION.fullmatch(sdk) else "")


def folder(spec: JobSpec) -> str:
    """Where the container's command begins: the SDK's script unpacks the caller's files in its working directory."""
    return "/opt/ml" if DRIVER in spec.command else "/"


def variables(spec: JobSpec) -> dict[str, str]:
    """Of a remote function's container. The SDK's script calls `sudo chmod` on the job's folders for any user but root, who AWS's images
    run as; the sandbox's user may write them as they are. It finds the user by this variable."""
    return {"LOGNAME": "root"} if DRIVER in spec.command else {}


def _after(words: Sequence[str], name: str) -> str:
    return next((value for word, value in pairwise(words) if word == name), "")
