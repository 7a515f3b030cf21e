"""SDK v3's HyperparameterTuner over a ModelTrainer: code ships in the old way, statics are plain text."""

from common import CPU, ROLE, bucket, csv, folder, put, session_v3, split, unique
from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter
from sagemaker.core.training.configs import Compute, InputData, OutputDataConfig, SourceCode, StoppingCondition
from sagemaker.train import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner

PYTHON = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:latest"
session, prefix = session_v3(), unique("v3-tuning")
x_train, _, y_train, _ = split("iris")
train = put(f"{prefix}/train/train.csv", csv(x_train, y_train))
source = folder(
    {
        "train.py": """
    import argparse, os
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float)
    parser.add_argument("--kind")
    parser.add_argument("--offset", type=float)
    args = parser.parse_args()
    assert os.listdir(os.environ["SM_CHANNEL_TRAIN"]) == ["train.csv"]
    print("loss=%r" % (abs(args.rate - 0.5) + args.offset + (args.kind == "bad")))
    """
    }
)
trainer = ModelTrainer(
    training_image=PYTHON,
    role=ROLE,
    sagemaker_session=session,
    base_job_name=unique("v3"),
    source_code=SourceCode(source_dir=source, entry_script="train.py"),
    compute=Compute(instance_type=CPU, instance_count=1),
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket()}/{prefix}/out"),
    stopping_condition=StoppingCondition(max_runtime_in_seconds=300),
    hyperparameters={"offset": 0.125},
)
tuner = HyperparameterTuner(
    model_trainer=trainer,
    objective_metric_name="loss",
    objective_type="Minimize",
    metric_definitions=[{"Name": "loss", "Regex": "loss=([0-9.e-]+)"}],
    hyperparameter_ranges={
        "rate": ContinuousParameter(0.0, 1.0),
        "kind": CategoricalParameter(["good", "bad"]),
    },
    strategy="Bayesian",
    max_jobs=3,
    max_parallel_jobs=2,
)
tuner.tune(inputs=[InputData(channel_name="train", data_source=train)], wait=True)
job = tuner.latest_tuning_job.refresh()
assert job.hyper_parameter_tuning_job_status == "Completed", job
assert job.training_job_status_counters.completed == 3
best = tuner.best_training_job()
assert best == job.best_training_job.training_job_name
value = job.best_training_job.final_hyper_parameter_tuning_job_objective_metric.value
assert 0.125 <= value <= 1.625, value
frame = tuner.analytics().dataframe()
assert frame["FinalObjectiveValue"].min() == value
print("done")
