"""What jobs' and replicas' sandboxes have alike: the toolkit's folder, and short runs of its modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clary.domain.machine.workload import Environment, Files, Result, Workload

LIBRARY = "/opt/clary/lib"
CERTIFICATES = "certificates"  # the name of a workload's files that have them
_CERTIFICATES = "/opt/clary/certificates"


def bundle_files(bundle: str) -> tuple[Files, ...]:
    """The PEM text of an authority that clients in a sandbox must trust, as files of its workload; none where they need none."""
    return (Files(CERTIFICATES, _CERTIFICATES, texts={"ca.pem": bundle}),) if bundle else ()


def bundle_variables(bundle: str) -> Mapping[str, str]:
    """What tells AWS's clients of it."""
    return {"AWS_CA_BUNDLE": f"{_CERTIFICATES}/ca.pem"} if bundle else {}


def short_workload(
    key: str,
    module: str,
    spec: str,
    environment: Environment,
    files: Sequence[Files],
    memory: int,
    seconds: float,
    results: Sequence[Result] = (),
) -> Workload:
    """A module of the toolkit that does one thing and ends, told by the JSON file `spec`: without a network, behind everything else, and
    ended after `seconds`. By value: its output is kept as long as the run. Memory in bytes."""
    return Workload(
        key=key,
        command=(environment.python, "-m", f"clary.toolkit.{module}", spec),
        environment={"PYTHONPATH": LIBRARY, "PYTHONUNBUFFERED": "1"},
        packages=environment,
        files=tuple(files),
        results=tuple(results),
        background=True,
        memory=memory,
        network=False,
        stop_grace=0.0,
        max_runtime=seconds,
    )
