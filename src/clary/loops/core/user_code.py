"""Which of two runtimes user code runs in. One rule for jobs and endpoints."""

from __future__ import annotations

from clary.ports import Runtime, Runtimes


def for_user_code(runtimes: Runtimes, runtime: Runtime) -> Runtime:
    """The richer runtime of the same name where there is one ("xgboost-script" for "xgboost"), else the runtime itself: a built-in
    algorithm's environment is bare for speed."""
    return next((each for each in runtimes.all() if each.name == f"{runtime.name}-script"), runtime)
