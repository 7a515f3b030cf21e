from __future__ import annotations

import botocore.session
import pytest

from clary.domain.machine import instances
from clary.domain.machine.instances import GIB, find

_MODEL = botocore.session.get_session().get_service_model("sagemaker")
_TYPES = sorted(
    {t for shape in ("TrainingInstanceType", "ProductionVariantInstanceType") for t in _MODEL.shape_for(shape).enum}
)


def test_every_type_that_botocore_knows_has_figures() -> None:
    assert [t for t in _TYPES if find(t) is None] == []


@pytest.mark.parametrize(
    ("name", "vcpu", "gib", "gpus"),
    [
        ("ml.m5.large", 2, 8, 0),
        ("ml.m5.xlarge", 4, 16, 0),
        ("ml.c5.9xlarge", 36, 72, 0),
        ("ml.c4.8xlarge", 36, 60, 0),
        ("ml.c5n.4xlarge", 16, 42, 0),
        ("ml.m4.10xlarge", 40, 160, 0),
        ("ml.r5.24xlarge", 96, 768, 0),
        ("ml.t3.medium", 2, 4, 0),
        ("ml.r8g.medium", 1, 8, 0),
        ("ml.g4dn.12xlarge", 48, 192, 4),
        ("ml.g5.48xlarge", 192, 768, 8),
        ("ml.p3.2xlarge", 8, 61, 1),
        ("ml.p4d.24xlarge", 96, 1152, 8),
        ("ml.inf2.24xlarge", 96, 384, 0),
    ],
)
def test_figures_are_aws_own(name: str, vcpu: int, gib: float, gpus: int) -> None:
    size = find(name)
    assert size is not None
    assert (size.vcpu, size.memory / GIB, size.gpus) == (vcpu, gib, gpus)


@pytest.mark.parametrize("name", ["", "m5.large", "ml.m5", "ml.x9.large", "ml.m5.huge", "local"])
def test_what_is_no_type_has_none(name: str) -> None:
    assert find(name) is None


@pytest.mark.parametrize(
    ("millicpu", "memory", "name", "vcpu", "cores", "mib"),
    [
        (0, 0, "ml.m5.large", 2, 0.0, 8192),
        (1500, 0, "ml.m5.large at 1500 millicpu", 2, 1.5, 8192),
        (250, 0, "ml.m5.large at 250 millicpu", 1, 0.25, 8192),
        (0, 16384, "ml.m5.large with 16384 MB", 2, 0.0, 16384),
        (3000, 512, "ml.m5.large at 3000 millicpu with 512 MB", 3, 3.0, 512),
    ],
)
def test_a_type_with_other_cpu_or_memory(
    millicpu: int, memory: int, name: str, vcpu: int, cores: float, mib: int
) -> None:
    assert instances.sized("ml.m5.large", millicpu, memory) == name
    assert instances.parts(name) == ("ml.m5.large", millicpu, memory)
    size = instances.find(name)
    assert size is not None
    assert (size.name, size.vcpu, size.cores, size.memory >> 20) == (name, vcpu, cores, mib)


@pytest.mark.parametrize("name", [instances.serverless(1024, 5), instances.component(0.5, 512, 0), "", "ml.none.large"])
def test_other_sizes_have_no_parts(name: str) -> None:
    assert instances.parts(name) == (name, 0, 0)
    assert instances.sized(name) == name


def test_a_type_that_borrows() -> None:
    name = instances.sized("ml.m5.large", 1500, 512, 8)
    assert name == "ml.m5.large at 1500 millicpu with 512 MB up to 8 vCPU"
    assert instances.parts(name) == ("ml.m5.large", 1500, 512)
    size = instances.find(name)
    assert size is not None
    assert (size.vcpu, size.cores, size.burst) == (2, 1.5, 8.0)
    assert (plain := instances.find("ml.m5.large up to 4 vCPU")) is not None
    assert (plain.vcpu, plain.cores, plain.burst) == (2, 0.0, 4.0)


def test_a_type_that_is_none_has_no_size_either() -> None:
    assert instances.find("ml.none.large at 500 millicpu") is None


@pytest.mark.parametrize(
    ("name", "has_more"),
    [
        (instances.serverless(1024, 5, 2), "a variant with a larger MemorySizeInMB"),
        (instances.component(1, 512, 0), "a component with a larger MinMemoryRequiredInMb"),
        ("ml.m5.large with 4096 MB", "a larger instance type"),
    ],
)
def test_what_has_more_memory_is_told_as_its_user_asks_for_it(name: str, has_more: str) -> None:
    assert instances.remedy(name) == has_more


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ("ml.t3.medium", "ml.t3.large"),
        ("ml.t3.2xlarge", ""),
        ("ml.m5.4xlarge", "ml.m5.12xlarge"),
        ("ml.c5.4xlarge", "ml.c5.9xlarge"),
        ("ml.m7i.24xlarge", "ml.m7i.48xlarge"),
        ("ml.g4dn.16xlarge", ""),
        ("ml.p3.2xlarge", "ml.p3.8xlarge"),
        ("ml.inf1.24xlarge", ""),
        ("ml.m4.4xlarge", "ml.m4.10xlarge"),
        ("local", ""),
    ],
)
def test_the_next_larger_type_of_a_family(small: str, large: str) -> None:
    assert instances.larger(small) == large


def test_every_larger_type_is_one_of_awss() -> None:
    known = set(_MODEL.shape_for("TrainingInstanceType").enum)
    assert {large for each in known if (large := instances.larger(each))} <= known
