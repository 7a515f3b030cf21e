"""SDK v2: a pipeline whose condition reads the gate of an evaluation, and a model card that takes its metrics."""

import contextlib
import json

from botocore.exceptions import WaiterError
from common import ROLE, bucket, put, session_v2, unique
from sagemaker.model_card.evaluation_metric_parsers import EVALUATION_METRIC_PARSERS, EvaluationMetricTypeEnum
from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionEquals, ConditionGreaterThan
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import JsonGet
from sagemaker.workflow.parameters import ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import ProcessingStep

prefix, session = unique("v2-evaluation"), session_v2()
lines = ["y,good,bad"]
for row in range(400):
    truth = int(row * 37 % 100 + row * 53 % 61 > 80)
    lines.append(f"{truth},{row * 37 % 100 / 100},{row * 71 % 97 / 97}")
data = put(f"{prefix}/data/test.csv", "\n".join(lines).encode()).rpartition("/")[0]
where = f"s3://{bucket()}/{prefix}/out"

pipelines = PipelineSession(boto_session=session.boto_session, sagemaker_client=session.sagemaker_client)
column = ParameterString("Column", "good")
processor = Processor(
    image_uri="clary-evaluate", role=ROLE, instance_count=1, instance_type="ml.m5.large", sagemaker_session=pipelines
)
arguments = processor.run(
    inputs=[ProcessingInput(source=data, destination="/opt/ml/processing/input/data", input_name="dataset")],
    outputs=[ProcessingOutput(output_name="evaluation", source="/opt/ml/processing/output", destination=where)],
    arguments=["--target", "y", "--model.column", column, "--bootstrap", "100"],
)
report = PropertyFile(name="Report", output_name="evaluation", path="evaluation.json")
evaluate = ProcessingStep("Evaluate", step_args=arguments, property_files=[report])
passed = JsonGet(step_name=evaluate.name, property_file=report, json_path="gate.passed")
auc = JsonGet(step_name=evaluate.name, property_file=report, json_path="binary_classification_metrics.auc.value")
judge = ConditionStep(
    "Judge",
    conditions=[ConditionEquals(passed, True), ConditionGreaterThan(auc, 0.8)],
    else_steps=[FailStep("Refuse", error_message="the gate is not passed")],
)
pipeline = Pipeline(prefix, parameters=[column], steps=[evaluate, judge], sagemaker_session=pipelines)
pipeline.create(ROLE)

good = pipeline.start()
good.wait(delay=1, max_attempts=180)
assert good.describe()["PipelineExecutionStatus"] == "Succeeded", good.list_steps()

s3 = session.boto_session.client("s3")
document = json.loads(s3.get_object(Bucket=bucket(), Key=f"{prefix}/out/evaluation.json")["Body"].read())
kind = EvaluationMetricTypeEnum.BINARY_CLASSIFICATION
groups = EVALUATION_METRIC_PARSERS[kind].run(document)["metric_groups"]
named = {metric["name"]: metric for metric in groups[0]["metric_data"]}
assert named["auc"]["value"] > 0.8, named
assert named["auc - standard_deviation"]["value"] > 0, named
assert named["confusion_matrix"]["type"] == "matrix", named
assert named["receiver_operating_characteristic_curve"]["value"], named

bad = pipeline.start(parameters={"Column": "bad"})
with contextlib.suppress(WaiterError):  # which tells of a pipeline that failed
    bad.wait(delay=1, max_attempts=180)
steps = {step["StepName"]: step for step in bad.list_steps()}
assert bad.describe()["PipelineExecutionStatus"] == "Failed", steps
assert steps["Refuse"]["FailureReason"] == "the gate is not passed", steps
print("ok")
