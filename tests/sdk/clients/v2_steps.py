"""SDK v2: one pipeline with the steps that the other programs leave out: Tuning, Transform, Lambda and Lineage."""

import io
import sys
import zipfile

import boto3
import numpy as np
from common import CPU, ROLE, XGBOOST, bucket, csv, put, unique
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.lambda_helper import Lambda
from sagemaker.lineage.action import Action
from sagemaker.lineage.artifact import Artifact
from sagemaker.model import Model
from sagemaker.transformer import Transformer
from sagemaker.tuner import HyperparameterTuner, IntegerParameter
from sagemaker.workflow.functions import Join
from sagemaker.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum, LambdaStep
from sagemaker.workflow.lineage_step import LineageAssociation, LineageEntityReference, LineageStep
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.steps import TransformStep, TuningStep

sm, s3 = boto3.client("sagemaker"), boto3.client("s3")
name, session = unique("v2-steps"), PipelineSession(default_bucket=bucket())
random = np.random.default_rng(3)
x = random.normal(size=(200, 2)).round(3)
y = (x[:, 0] > 0).astype(int)
train, features = put(f"{name}/train.csv", csv(x, y)), put(f"{name}/rows/x.csv", csv(x[:20]))
estimator = Estimator(
    XGBOOST, ROLE, 1, CPU, sagemaker_session=session, output_path=f"s3://{bucket()}/{name}/out",
    hyperparameters={"objective": "binary:logistic", "num_round": 3, "eval_metric": "error"},
)  # fmt: skip
tuner = HyperparameterTuner(
    estimator,
    "validation:error",
    {"max_depth": IntegerParameter(1, 3)},
    objective_type="Minimize",
    max_jobs=2,
    max_parallel_jobs=2,
)
data = TrainingInput(train, content_type="text/csv")
tune = TuningStep("Tune", step_args=tuner.fit({"train": data, "validation": data}))
best = tune.get_top_model_s3_uri(top_k=0, s3_bucket=bucket(), prefix=f"{name}/out")
model = Model(XGBOOST, model_data=best, role=ROLE, sagemaker_session=session)
make = ModelStep("Make", step_args=model.create(instance_type=CPU))
transformer = Transformer(
    make.properties.ModelName, 1, CPU, output_path=f"s3://{bucket()}/{name}/predicted", sagemaker_session=session
)
transform = TransformStep(
    "Predict", step_args=transformer.transform(features, content_type="text/csv", split_type="Line")
)
archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as file:
    file.writestr("count.py", "def handler(event, context):\n    return {'letters': len(event['word'])}\n")
function = boto3.client("lambda").create_function(
    FunctionName=name, Runtime=f"python3.{sys.version_info.minor}", Role=ROLE, Handler="count.handler",
    Code={"ZipFile": archive.getvalue()}, Timeout=60,
)["FunctionArn"]  # fmt: skip
count = LambdaStep(
    "Count",
    lambda_func=Lambda(function_arn=function, session=session),
    inputs={"word": "four"},
    outputs=[LambdaOutput("letters", LambdaOutputTypeEnum.Integer)],
)
lineage = LineageStep(
    name="Record",
    actions=[
        Action.create(
            action_name=Join(on="-", values=[name, count.properties.Outputs["letters"]]),
            source_uri=f"s3://{bucket()}/{name}/run", action_type="Training", sagemaker_session=session,
        )
    ],
    artifacts=[
        Artifact.create(artifact_name="rows", source_uri=features, artifact_type="DataSet", sagemaker_session=session)
    ],
    associations=[
        LineageAssociation(
            source=LineageEntityReference(name="rows", type="Artifact"),
            destination=LineageEntityReference(name=Join(on="-", values=[name, count.properties.Outputs["letters"]]), type="Action"),
            association_type="ContributedTo",
        )
    ],
)  # fmt: skip
pipeline = Pipeline(name, steps=[tune, make, transform, count, lineage], sagemaker_session=session)
pipeline.create(ROLE)
execution = pipeline.start()
execution.wait(delay=1, max_attempts=200)
steps = {step["StepName"]: step for step in execution.list_steps()}
assert {step["StepStatus"] for step in steps.values()} == {"Succeeded"}, steps
assert steps["Count"]["Metadata"]["Lambda"]["OutputParameters"] == [{"Name": "letters", "Value": "4"}]
told = steps["Record"]["Metadata"]["Lineage"]
assert told["ActionArns"] == {f"{name}-4": told["Associations"][0]["DestinationArn"]}, told
predicted = s3.get_object(Bucket=bucket(), Key=f"{name}/predicted/x.csv.out")["Body"].read().split()
assert len(predicted) == 20, predicted
[trial] = sm.list_trials(ExperimentName=name)["TrialSummaries"]
assert trial["TrialName"] == execution.arn.rpartition("/")[2]
print("OK")
