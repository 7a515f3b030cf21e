from __future__ import annotations

from clary.domain.jobs import notebook, training
from clary.domain.jobs.spec import JobSpec


def test_a_notebook_job_is_known_by_its_command_alone() -> None:
    assert notebook.runs(JobSpec("image", "role", "group", (), 60, command=("amazon_sagemaker_scheduler",)))
    assert not notebook.runs(
        JobSpec("image", "role", "group", (), 60, command=("python", "amazon_sagemaker_scheduler"))
    )
    assert not notebook.asked({"AlgorithmSpecification": {}})


def test_what_a_notebook_left_is_stored_when_it_failed_too() -> None:
    request = {
        "TrainingJobName": "j",
        "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
        "AlgorithmSpecification": {"ContainerEntrypoint": ["amazon_sagemaker_scheduler"]},
    }
    assert [each.failed for each in training.outputs(request)] == [False, True]
    assert [each.failed for each in training.outputs({**request, "AlgorithmSpecification": {}})] == [False, False]


def test_the_program_leaves_nothing_in_the_kernels_variables() -> None:
    python, flag, program = notebook.command("/env/bin/python", "/opt/clary/lib")
    assert (python, flag) == ("/env/bin/python", "-c")
    assert "sys.path.insert(0, '/opt/clary/lib')" in program
