"""SDK v3: the Clarify image by Processor, which has no class of its own for it; predicted labels that come with the dataset."""

import json

import boto3
from common import CPU, REGION, ROLE, bucket, put, session_v3, unique
from sagemaker.core import image_uris
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output

session, prefix = session_v3(), unique("v3-clarify")
rows = [(at % 2, at, int(at % 3 == 0), int(at % 4 == 0)) for at in range(120)]
config = {
    "dataset_type": "text/csv",
    "headers": ["sex", "x", "label", "predicted"],
    "label": "label",
    "predicted_label": "predicted",
    "label_values_or_threshold": [1],
    "facet": [{"name_or_index": "sex", "value_or_threshold": [1]}],
    "methods": {"post_training_bias": {"methods": ["DPPL", "AD"]}, "report": {"name": "report"}},
}


def source(name, uri, path):
    given = ProcessingS3Input(s3_uri=uri, local_path=path, s3_data_type="S3Prefix", s3_input_mode="File")
    return ProcessingInput(input_name=name, s3_input=given)


target = ProcessingS3Output(
    s3_uri=f"s3://{bucket()}/{prefix}/out", local_path="/opt/ml/processing/output", s3_upload_mode="EndOfJob"
)
processor = Processor(
    role=ROLE,
    image_uri=image_uris.retrieve("clarify", REGION),
    instance_count=1,
    instance_type=CPU,
    sagemaker_session=session,
)
processor.run(
    inputs=[
        source("analysis_config", put(f"{prefix}/analysis_config.json", json.dumps(config)), "/opt/ml/processing/input/config"),
        source("dataset", put(f"{prefix}/data.csv", "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in rows)), "/opt/ml/processing/input/data"),
    ],
    outputs=[ProcessingOutput(output_name="analysis_result", s3_output=target)],
    wait=True,
    logs=False,
)  # fmt: skip
body = boto3.client("s3").get_object(Bucket=bucket(), Key=f"{prefix}/out/analysis.json")["Body"].read()
metrics = json.loads(body)["post_training_bias_metrics"]["facets"]["sex"][0]["metrics"]
assert [each["name"] for each in metrics] == ["AD", "DPPL"]
assert abs(metrics[1]["value"] - 0.5) < 1e-9  # of the even rows every second is accepted, of the odd ones none
print("ok")
