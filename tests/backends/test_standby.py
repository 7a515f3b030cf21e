"""Which runs may begin in a sandbox that waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clary.backends.standby import further, inherited, order, shape
from clary.domain.machine.workload import ContainerImage, Environment, Mount, MountMode, Workload

PACKAGES = Environment("sklearn", "abc")
LIBRARY = Mount("/srv/environment", "/opt/clary/environment", MountMode.OVERLAY)
WAITING = Workload("waiting", ("python",), {}, mounts=(LIBRARY,), packages=PACKAGES, installs=True, waits=True)
DATA = Mount("/srv/data", "/opt/ml/input/data/train", MountMode.OVERLAY)
ML = Mount("/srv/ml", "/opt/ml", MountMode.READ_WRITE)
JOB = Workload("job", ("python",), {}, mounts=(LIBRARY, DATA, ML), packages=PACKAGES, installs=True)


def test_what_a_job_has_beside_is_mounted_later_and_what_lies_above_first() -> None:
    size = JOB.memory
    assert further(JOB, shape(WAITING)) == [
        {"source": "/srv/ml", "target": "/opt/ml", "mode": "rw", "size": size},
        {"source": "/srv/data", "target": "/opt/ml/input/data/train", "mode": "overlay", "size": size},
    ]


@pytest.mark.parametrize(
    "job",
    [
        replace(JOB, memory=JOB.memory + 1),
        replace(JOB, cpu=2.0),
        replace(JOB, disk=1 << 30),
        replace(JOB, network=False),
        replace(JOB, gpus=1),
        replace(JOB, packages=Environment("sklearn", "other")),
        replace(JOB, hosts={"algo-1": "127.2.1.1", "algo-2": "127.2.1.2"}),
        replace(JOB, mounts=(DATA, ML)),
        replace(JOB, mounts=(replace(LIBRARY, mode=MountMode.READ_ONLY), DATA, ML)),
        replace(JOB, container=ContainerImage("image", (), {})),
    ],
)
def test_what_was_set_when_the_sandbox_was_made_must_be_equal(job: Workload) -> None:
    assert further(job, shape(WAITING)) is None


def test_an_order_is_all_that_the_command_gets() -> None:
    told = order(replace(JOB, environment={"A": "b"}, cwd="/opt/ml"))
    assert (told["command"], told["cwd"], told["environment"]["A"]) == (["python"], "/opt/ml", "b")
    assert "PATH" in told["environment"]


def test_a_run_is_counted_and_ended_by_what_its_sandbox_was_made_with() -> None:
    spec = dict.fromkeys(
        ("uid", "mark", "join", "groups", "folders", "counters", "network", "affinity", "rlimits", "memory", "log")
    )
    assert "log" not in inherited(spec)
