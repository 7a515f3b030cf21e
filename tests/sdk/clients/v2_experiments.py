"""Experiments by SDK v2: Run, load_run, list_runs, charts, metrics; and the table of ExperimentAnalytics. Prints what was read back."""

import common
from sagemaker.analytics import ExperimentAnalytics
from sagemaker.experiments import Run, list_runs, load_run
from sagemaker.session import Session

session, stem = Session(default_bucket=common.bucket()), common.unique("s")
for n in range(2):
    with Run(experiment_name=f"Exp-{stem}", run_name=f"Run-{n}", sagemaker_session=session) as run:
        run.log_parameters({"eta": 0.1 * (n + 1), "objective": "mse"})
        for step in range(25):
            run.log_metric("loss", 1 / (step + 1) + n, step=step)
        run.log_confusion_matrix([0, 1, 1, 0], [0, 1, 0, 0], title="confusion")
        run.log_artifact("notes", "s3://bucket/notes.txt", media_type="text/plain")
with load_run(experiment_name=f"Exp-{stem}", run_name="Run-0", sagemaker_session=session) as again:
    again.log_parameter("later", 1)
with Run(experiment_name=f"Exp-{stem}", run_name="Run-0", sagemaker_session=session) as once_more:
    once_more.log_metric("auc", 0.9)

runs = list_runs(f"Exp-{stem}", sagemaker_session=session)
assert [run.run_name for run in runs] == ["run-1", "run-0"], runs
component = runs[1]._trial_component
assert component.parameters["later"] == 1.0, component.parameters
assert component.status.primary_status == "Completed", component.status
client = session.sagemaker_client
described = client.describe_trial_component(TrialComponentName=component.trial_component_name)
metrics = {each["MetricName"]: each for each in described["Metrics"]}
assert metrics["loss"]["Count"] == 25, metrics
assert abs(metrics["loss"]["Min"] - 0.04) < 1e-9, metrics
assert metrics["auc"]["Last"] == 0.9, metrics
associated = client.list_associations(SourceArn=described["TrialComponentArn"])["AssociationSummaries"]
assert [each["DestinationType"] for each in associated] == ["ConfusionMatrix"], associated
table = ExperimentAnalytics(
    experiment_name=f"exp-{stem}", sagemaker_session=session, sort_by="metrics.loss.max"
).dataframe()
assert list(table["loss - Max"]) == [2.0, 1.0], table
series = session.sagemaker_metrics_client.batch_get_metrics(
    MetricQueries=[
        {
            "MetricName": "loss",
            "ResourceArn": described["TrialComponentArn"],
            "MetricStat": "Last",
            "Period": "IterationNumber",
            "XAxisType": "IterationNumber",
        }
    ]
)["MetricQueryResults"][0]
assert series["Status"] == "Complete", series
assert series["XAxisValues"] == list(range(25)), series
assert abs(series["MetricValues"][4] - 0.2) < 1e-9, series
once_more._experiment._delete_all(action="--force")
left = [each["ExperimentName"] for each in client.list_experiments()["ExperimentSummaries"]]
assert f"exp-{stem}" not in left, left
print("experiments: ok")
