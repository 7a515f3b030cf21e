"""A pipeline of `@step` functions by SDK v2: values go from one to the next, a condition decides, and the last one's failure is told."""

import common
from botocore.exceptions import WaiterError
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionGreaterThan
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.function_step import step
from sagemaker.workflow.parameters import ParameterInteger
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:1.0"
session = PipelineSession(default_bucket=common.bucket())
settings = {"image_uri": IMAGE, "role": common.ROLE, "instance_type": common.CPU}
name = common.unique("v2-steps")
rows = ParameterInteger("Rows", default_value=4)


@step(name="collect", **settings)
def collect(count):
    return {"rows": list(range(count)), "label": "numbers"}


@step(name="Total", **settings)
def total(rows, label):
    assert label == "numbers"
    return sum(rows)


@step(name="report", **settings)
def report(value):
    return f"the total is {value}"


collected = collect(rows)
summed = total(collected["rows"], collected["label"])
said = report(summed)
gate = ConditionStep(
    "gate",
    conditions=[ConditionGreaterThan(left=summed, right=5)],
    if_steps=[said],
    else_steps=[FailStep("TooLittle", error_message="the total is too small")],
)
pipeline = Pipeline(name, parameters=[rows], steps=[gate], sagemaker_session=session)
pipeline.upsert(common.ROLE)


def run(wanted, **more):
    execution = pipeline.start(**more)
    try:
        execution.wait(delay=1, max_attempts=200)
    except WaiterError:
        assert wanted == "Failed"
    steps = {each["StepName"]: each for each in execution.list_steps()}
    assert execution.describe()["PipelineExecutionStatus"] == wanted, steps
    return execution, steps


one, steps = run("Succeeded")
assert set(steps) == {"collect", "Total", "gate", "report"}, set(steps)
assert one.result("Total") == 6  # the SDK asks for the job by the last part of its ARN, which is in lower case
assert one.result("report") == "the total is 6"
_, steps = run("Failed", parameters={"Rows": 2})
assert steps["TooLittle"]["FailureReason"] == "the total is too small"
pipeline.delete()
print("OK")
