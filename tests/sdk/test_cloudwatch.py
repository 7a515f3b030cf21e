"""CloudWatch through unmodified clients: metrics put and read, alarms and their states, the metrics of an endpoint."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from tests.sdk import acts
from tests.sdk.acts import PYTHON, User
from tests.sdk.conftest import ROOT, Server

pytestmark = pytest.mark.live


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait for the condition, which is asked again and again."""
    return acts.until(condition, seconds=seconds)


def state(watch: Any, name: str) -> str:
    (found,) = watch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(found["StateValue"])


def alarm(watch: Any, name: str, **changes: Any) -> dict[str, Any]:
    request = {
        "AlarmName": name,
        "Namespace": "Tests",
        "MetricName": name,
        "Statistic": "Sum",
        "Period": 10,
        "EvaluationPeriods": 1,
        "Threshold": 0.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        **changes,
    }
    watch.put_metric_alarm(**request)
    return request


def test_put_and_read(server: Server) -> None:
    watch = server.client("cloudwatch")
    where = [{"Name": "Host", "Value": "a"}]
    now = datetime.now(UTC).replace(microsecond=0)
    data = [
        {"MetricName": "Load", "Dimensions": where, "Timestamp": now, "Value": 3.0, "StorageResolution": 1},
        {"MetricName": "Load", "Dimensions": where, "Timestamp": now, "Values": [1.0, 2.0], "Counts": [1, 2]},
        {
            "MetricName": "Load",
            "Dimensions": where,
            "StatisticValues": {"SampleCount": 2, "Sum": 12, "Minimum": 5, "Maximum": 7},
            "Timestamp": now,
        },
        {"MetricName": "Load", "Dimensions": where, "Value": 50.0, "Unit": "Percent", "Timestamp": now},
    ]
    watch.put_metric_data(Namespace="Tests/Read", MetricData=data)
    asked = {
        "Namespace": "Tests/Read",
        "MetricName": "Load",
        "Dimensions": where,
        "StartTime": now - timedelta(minutes=2),
        "EndTime": now + timedelta(minutes=2),
        "Statistics": ["Sum", "Average", "Minimum", "Maximum", "SampleCount"],
    }
    (plain, percent) = sorted(watch.get_metric_statistics(Period=60, **asked)["Datapoints"], key=lambda p: p["Unit"])
    assert (plain["Unit"], plain["Sum"], plain["SampleCount"]) == ("None", 20.0, 6.0)
    assert (plain["Minimum"], plain["Maximum"], plain["Average"]) == (1.0, 7.0, 20.0 / 6)
    assert plain["Timestamp"] == now.replace(second=0)
    assert (percent["Unit"], percent["Sum"]) == ("Percent", 50.0)
    (fine,) = watch.get_metric_statistics(Period=1, Unit="None", **asked)["Datapoints"]
    assert (fine["Timestamp"], fine["Sum"]) == (now, 3.0)
    assert watch.list_metrics(Namespace="Tests/Read")["Metrics"] == [
        {"Namespace": "Tests/Read", "MetricName": "Load", "Dimensions": where}
    ]
    assert watch.list_metrics(Namespace="Tests/Read", Dimensions=[{"Name": "Host", "Value": "b"}])["Metrics"] == []


def test_metric_math_and_pages(server: Server) -> None:
    watch = server.client("cloudwatch")
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    rows = [
        {"MetricName": metric, "Value": value * (minute + 1), "Timestamp": now - timedelta(minutes=minute)}
        for metric, value in (("bad", 1.0), ("all", 10.0))
        for minute in range(5)
    ]
    watch.put_metric_data(Namespace="Tests/Math", MetricData=rows)

    def stat(metric: str) -> dict[str, Any]:
        return {"Metric": {"Namespace": "Tests/Math", "MetricName": metric}, "Period": 60, "Stat": "Sum"}

    queries = [
        {"Id": "rate", "Expression": "100 * bad / total", "Label": "percent"},
        {"Id": "bad", "MetricStat": stat("bad")},
        {"Id": "total", "MetricStat": stat("all"), "ReturnData": False},
        {"Id": "found", "Expression": "SUM(SEARCH('{Tests/Math}', 'Maximum', 60))"},
    ]
    asked = {
        "MetricDataQueries": queries,
        "StartTime": now - timedelta(minutes=10),
        "EndTime": now + timedelta(minutes=1),
    }
    results = {each["Id"]: each for each in watch.get_metric_data(**asked)["MetricDataResults"]}
    assert [each["StatusCode"] for each in results.values()] == ["Complete"] * 3
    assert (results["rate"]["Label"], results["rate"]["Values"]) == ("percent", [10.0] * 5)
    assert results["bad"]["Values"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert results["bad"]["Timestamps"][0] == now
    assert results["found"]["Values"] == [11.0, 22.0, 33.0, 44.0, 55.0]
    pages = watch.get_paginator("get_metric_data").paginate(**asked, PaginationConfig={"PageSize": 4})
    values = [value for page in pages for each in page["MetricDataResults"] for value in each["Values"]]
    assert values == [value for each in results.values() for value in each["Values"]]
    with pytest.raises(ClientError, match="Error in expression 'e'"):
        watch.get_metric_data(**{**asked, "MetricDataQueries": [{"Id": "e", "Expression": "NOSUCH(1)"}]})


def test_a_training_job_reports_its_metrics(server: Server) -> None:
    """What TrainingJobAnalytics of the SageMaker SDK asks."""
    user = User(server)
    script = {"train.py": "for n in range(3): print(f'loss={n}.5', flush=True)"}
    definitions = {"MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]}
    seen = user.train(PYTHON, script, AlgorithmSpecification=definitions)
    name = seen["TrainingJobName"]
    answer = server.client("cloudwatch").get_metric_statistics(
        Namespace="/aws/sagemaker/TrainingJobs",
        MetricName="loss",
        Dimensions=[{"Name": "TrainingJobName", "Value": name}],
        StartTime=seen["TrainingStartTime"],
        EndTime=seen["TrainingEndTime"] + timedelta(minutes=1),
        Period=60,
        Statistics=["Average", "SampleCount"],
    )
    assert sum(point["SampleCount"] for point in answer["Datapoints"]) == 3
    assert sum(point["Average"] * point["SampleCount"] for point in answer["Datapoints"]) == 4.5


BUSY = """
import time
open("/opt/ml/model/big", "wb").write(bytes(30_000_000))
end = time.monotonic() + 12  # so that it is looked at twice, each 5 s: a share of CPU lies between two looks
while time.monotonic() < end:
    sum(range(1000))
"""


def test_a_training_job_tells_what_its_host_uses(server: Server) -> None:
    user = User(server)
    seen = user.train(PYTHON, {"train.py": BUSY})
    host = {"Host": f"{seen['TrainingJobName']}/algo-1"}
    watch, since = server.client("cloudwatch"), seen["TrainingStartTime"].replace(second=0, microsecond=0)
    dimensions = [{"Name": "Host", "Value": host["Host"]}]

    def maximum(metric: str) -> float:
        answer = watch.get_metric_statistics(
            Namespace="/aws/sagemaker/TrainingJobs",
            MetricName=metric,
            Dimensions=dimensions,
            StartTime=since,
            EndTime=since + timedelta(minutes=10),
            Period=60,
            Statistics=["Maximum"],
            Unit="Percent",
        )
        return max((point["Maximum"] for point in answer["Datapoints"]), default=0.0)

    until(lambda: maximum("CPUUtilization") > 5)
    assert 0 < maximum("MemoryUtilization") <= 100
    assert 0 < maximum("DiskUtilization") < 10
    listed = watch.list_metrics(Namespace="/aws/sagemaker/TrainingJobs", Dimensions=dimensions)["Metrics"]
    assert [each["MetricName"] for each in listed] == ["CPUUtilization", "DiskUtilization", "MemoryUtilization"]


def test_dashboards(server: Server) -> None:
    watch, name = server.client("cloudwatch"), acts.unique("board")
    body = json.dumps({"widgets": [{"type": "text", "x": 0, "properties": {"markdown": "hello"}}]})
    assert watch.put_dashboard(DashboardName=name, DashboardBody=body)["DashboardValidationMessages"] == []
    assert server.client("cloudwatch", "eu-west-1").get_dashboard(DashboardName=name)["DashboardBody"] == body
    (entry,) = watch.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
    assert (entry["DashboardArn"], entry["Size"]) == (f"arn:aws:cloudwatch::000000000000:dashboard/{name}", len(body))
    with pytest.raises(watch.exceptions.DashboardInvalidInputError) as caught:
        watch.put_dashboard(DashboardName=name, DashboardBody='{"widgets": [{}]}')
    assert caught.value.response["dashboardValidationMessages"][0]["DataPath"] == "/widgets/0"
    watch.delete_dashboards(DashboardNames=[name])
    with pytest.raises(ClientError, match=rf"\(ResourceNotFound\).*Dashboard {name} does not exist"):
        watch.get_dashboard(DashboardName=name)
    with pytest.raises(ClientError, match=r"PutMetricStream is not supported. .*scrape /metrics"):
        watch.put_metric_stream(Name="s", FirehoseArn="arn:f", RoleArn="arn:r", OutputFormat="json")


def test_errors(server: Server) -> None:
    watch = server.client("cloudwatch")

    def refused(call: Callable[[], Any]) -> str:
        with pytest.raises(ClientError) as caught:
            call()
        return str(caught.value.response["Error"]["Code"])

    def put(**row: Any) -> Callable[[], Any]:
        return lambda: watch.put_metric_data(Namespace="Tests", MetricData=[{"MetricName": "m", **row}])

    assert refused(put(Value=float("nan"))) == "InvalidParameterValue"
    assert refused(put()) == "MissingParameter"
    assert refused(put(Value=1.0, Values=[1.0])) == "InvalidParameterCombination"
    assert refused(put(Value=1.0, Timestamp=datetime(2001, 1, 1, tzinfo=UTC))) == "InvalidParameterValue"
    with pytest.raises(watch.exceptions.ResourceNotFound):
        watch.set_alarm_state(AlarmName="nobody", StateValue="OK", StateReason="r")
    assert refused(lambda: alarm(watch, "bad", Period=17)) == "ValidationError"
    assert refused(lambda: alarm(watch, "bad", AlarmActions=["mail me"])) == "ValidationError"
    assert refused(lambda: watch.describe_alarms(NextToken="forged")) == "InvalidNextToken"
    assert watch.describe_alarms(AlarmNames=["bad"])["MetricAlarms"] == []


@pytest.mark.waits
def test_an_alarm_from_its_making_to_its_end(server: Server) -> None:
    watch, name = server.client("cloudwatch"), "Life of an alarm"
    request = alarm(watch, name, OKActions=["arn:aws:nowhere:us-east-1:000000000000:x"])
    (made,) = watch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    watch.tag_resource(ResourceARN=made["AlarmArn"], Tags=[{"Key": "k", "Value": "v"}])
    assert watch.list_tags_for_resource(ResourceARN=made["AlarmArn"])["Tags"] == [{"Key": "k", "Value": "v"}]
    watch.untag_resource(ResourceARN=made["AlarmArn"], TagKeys=["k"])
    assert watch.list_tags_for_resource(ResourceARN=made["AlarmArn"])["Tags"] == []
    assert made["AlarmArn"] == f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{name}"
    assert {key: made[key] for key in request} == request
    assert made["StateValue"] in ("INSUFFICIENT_DATA", "OK")
    until(lambda: state(watch, name) == "OK")
    watch.put_metric_data(Namespace="Tests", MetricData=[{"MetricName": name, "Value": 2.0, "StorageResolution": 1}])
    began = time.monotonic()
    until(lambda: state(watch, name) == "ALARM", 30)
    assert time.monotonic() - began < 9, "a sum that breaches already is not waited for"
    (tripped,) = watch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert "[2.0 (" in tripped["StateReason"]
    assert (
        "was greater than the threshold (0.0) (minimum 1 datapoint for OK -> ALARM transition)."
        in tripped["StateReason"]
    )
    assert json.loads(tripped["StateReasonData"])["recentDatapoints"] == [2.0]
    watch.set_alarm_state(AlarmName=name, StateValue="INSUFFICIENT_DATA", StateReason="I say so")
    assert state(watch, name) == "INSUFFICIENT_DATA"
    until(lambda: state(watch, name) != "INSUFFICIENT_DATA", 30)
    until(lambda: state(watch, name) == "OK", 60)
    history = watch.describe_alarm_history(AlarmName=name, ScanBy="TimestampAscending")["AlarmHistoryItems"]
    updates = [item["HistorySummary"] for item in history if item["HistoryItemType"] == "StateUpdate"]
    assert updates[:3] == [
        "Alarm updated from INSUFFICIENT_DATA to OK",
        "Alarm updated from OK to ALARM",
        "Alarm updated from ALARM to INSUFFICIENT_DATA",
    ]
    assert history[0]["HistorySummary"] == f'Alarm "{name}" created'
    assert any(item["HistorySummary"].startswith("Failed to execute action arn:aws:nowhere") for item in history)
    watch.delete_alarms(AlarmNames=[name])
    assert watch.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []
    last = watch.describe_alarm_history(AlarmName=name, HistoryItemType="ConfigurationUpdate", MaxRecords=1)
    assert last["AlarmHistoryItems"][0]["HistorySummary"] == f'Alarm "{name}" deleted'


def test_an_alarm_tells_a_topic(server: Server) -> None:
    watch, sns = server.client("cloudwatch"), server.client("sns")
    topic = sns.create_topic(Name=acts.unique("alarms"))["TopicArn"]
    name = acts.unique("telling")
    alarm(watch, name, Period=60, AlarmActions=[topic], OKActions=[topic + "-gone"])
    watch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="I say so")

    def actions() -> list[str]:
        items = watch.describe_alarm_history(AlarmName=name, HistoryItemType="Action")["AlarmHistoryItems"]
        return [item["HistorySummary"] for item in items]

    until(lambda: f"Successfully executed action {topic}" in actions())
    watch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="I say so")
    until(lambda: f"Failed to execute action {topic}-gone" in actions())
    watch.delete_alarms(AlarmNames=[name])


AWS = ROOT / ".venv-cli" / "bin" / "aws"


@pytest.mark.skipif(not AWS.exists(), reason="scripts/test makes .venv-cli")
def test_the_aws_cli_works_with_alarms_and_metrics(server: Server) -> None:
    name = acts.unique("cli")

    def aws(*words: str) -> Any:
        done = server.run([str(AWS), "cloudwatch", *words, "--output", "json"])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    aws("put-metric-data", "--namespace", "Cli", "--metric-name", name, "--value", "7", "--dimensions", "Host=a")
    (listed,) = aws("list-metrics", "--namespace", "Cli", "--metric-name", name)["Metrics"]
    assert listed["Dimensions"] == [{"Name": "Host", "Value": "a"}]
    watched = [
        "--namespace",
        "Cli",
        "--metric-name",
        name,
        "--dimensions",
        "Name=Host,Value=a",
        "--statistic",
        "Maximum",
    ]
    rule = ["--period", "60", "--evaluation-periods", "1", "--threshold", "5"]
    compared = ["--comparison-operator", "GreaterThanThreshold"]
    aws("put-metric-alarm", "--alarm-name", name, *watched, *rule, *compared)

    def seen() -> str:
        (found,) = aws("describe-alarms", "--alarm-names", name)["MetricAlarms"]
        return str(found["StateValue"])

    until(lambda: seen() == "ALARM", 90)
    history = aws("describe-alarm-history", "--alarm-name", name)["AlarmHistoryItems"]
    assert any("to ALARM" in item["HistorySummary"] for item in history)
    aws("delete-alarms", "--alarm-names", name)
    assert aws("describe-alarms", "--alarm-names", name)["MetricAlarms"] == []


def test_a_composite_alarm_follows_its_children(server: Server) -> None:
    watch = server.client("cloudwatch")
    alarm(watch, "child-one", Period=60)
    alarm(watch, "child-two", Period=60)
    rule = "ALARM(child-one) AND NOT ALARM(child-two)"
    watch.put_composite_alarm(AlarmName="parent", AlarmRule=rule)
    until(lambda: state_of_composite(watch) == "OK")
    watch.set_alarm_state(AlarmName="child-one", StateValue="ALARM", StateReason="r")
    until(lambda: state_of_composite(watch) == "ALARM", 30)
    watch.set_alarm_state(AlarmName="child-two", StateValue="ALARM", StateReason="r")
    until(lambda: state_of_composite(watch) == "OK", 30)
    children = watch.describe_alarms(ChildrenOfAlarmName="parent")["MetricAlarms"]
    assert [child["AlarmName"] for child in children] == ["child-one", "child-two"]
    with pytest.raises(ClientError, match="change or delete that first"):
        watch.delete_alarms(AlarmNames=["child-one"])
    watch.delete_alarms(AlarmNames=["parent"])
    watch.delete_alarms(AlarmNames=["child-one", "child-two"])


def test_a_suppressor_holds_the_actions_of_a_composite_alarm_back(server: Server) -> None:
    watch, sns = server.client("cloudwatch"), server.client("sns")
    topic = sns.create_topic(Name=acts.unique("held"))["TopicArn"]
    child, quiet, parent = (acts.unique(name) for name in ("child", "quiet", "parent"))
    for name in (child, quiet):
        alarm(watch, name, Period=3600)  # so that no evaluation comes between
    held = {"ActionsSuppressor": quiet, "ActionsSuppressorWaitPeriod": 0, "ActionsSuppressorExtensionPeriod": 1}
    with pytest.raises(ClientError, match="ActionsSuppressor names nobody, and there is no such alarm"):
        watch.put_composite_alarm(
            AlarmName=parent, AlarmRule=f"ALARM({child})", **{**held, "ActionsSuppressor": "nobody"}
        )
    watch.put_composite_alarm(AlarmName=parent, AlarmRule=f"ALARM({child})", AlarmActions=[topic], **held)

    def seen() -> dict[str, Any]:
        (found,) = watch.describe_alarms(AlarmNames=[parent], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
        return dict(found)

    def actions() -> list[str]:
        items = watch.describe_alarm_history(AlarmName=parent, HistoryItemType="Action")["AlarmHistoryItems"]
        return [item["HistorySummary"] for item in items]

    assert held.items() <= seen().items()
    until(lambda: seen()["StateValue"] == "OK")
    watch.set_alarm_state(AlarmName=quiet, StateValue="ALARM", StateReason="a deployment")
    watch.set_alarm_state(AlarmName=child, StateValue="ALARM", StateReason="r")
    until(lambda: seen().get("ActionsSuppressedBy") == "Alarm", 30)
    assert seen()["ActionsSuppressedReason"] == f"The suppressor {quiet} is in state ALARM"
    assert (seen()["StateValue"], actions()) == ("ALARM", ["Actions suppressed by Alarm"])
    watch.set_alarm_state(AlarmName=quiet, StateValue="OK", StateReason="it is over")
    until(lambda: f"Successfully executed action {topic}" in actions(), 30)
    assert "ActionsSuppressedBy" not in seen()
    watch.delete_alarms(AlarmNames=[parent])
    watch.delete_alarms(AlarmNames=[child, quiet])


def state_of_composite(watch: Any) -> str:
    (found,) = watch.describe_alarms(AlarmNames=["parent"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    return str(found["StateValue"])


# -- an endpoint's metrics ---------------------------------------------------------------------------------------------------------

BRITTLE = """
def model_fn(model_dir):
    return None

def input_fn(body, content_type):
    return body

def predict_fn(body, model):
    if body == b"raise":
        raise RuntimeError("broken")
    return b"fine"

def output_fn(answer, accept):
    return answer, "text/plain"
"""


def sums(watch: Any, metric: str, since: datetime, period: int, stat: str = "Sum", **where: str) -> list[float]:
    answer = watch.get_metric_statistics(
        Namespace="/aws/sagemaker/Endpoints" if "Utilization" in metric else "AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in where.items()],
        StartTime=since,
        EndTime=since + timedelta(minutes=10),
        Period=period,
        Statistics=[stat],
    )
    return [point[stat] for point in answer["Datapoints"]]


@pytest.mark.slow
def test_an_endpoint_counts_every_request_in_cloudwatch(server: Server) -> None:
    user = User(server)
    since = datetime.now(UTC).replace(second=0, microsecond=0)
    name = user.endpoint({"ModelName": user.scripted({"code/inference.py": BRITTLE, "weights": "w"}, {}, PYTHON)})
    watch, where = server.client("cloudwatch"), {"EndpointName": name, "VariantName": "v1"}
    dimensions = [{"Name": key, "Value": value} for key, value in where.items()]
    until(lambda: 0.0 in sums(watch, "Invocations", since, 10, **where))  # idle
    tripping = {"Namespace": "AWS/SageMaker", "MetricName": "Invocation5XXErrors", "Dimensions": dimensions}
    alarm(watch, name, **tripping)
    until(lambda: state(watch, name) == "OK")
    for _ in range(25):
        user.runtime.invoke_endpoint(EndpointName=name, Body=b"good", ContentType="text/plain")
    began = time.monotonic()
    for _ in range(4):
        with pytest.raises(ClientError) as caught:
            user.runtime.invoke_endpoint(EndpointName=name, Body=b"raise", ContentType="text/plain")
        assert caught.value.response["OriginalStatusCode"] == 500
    until(lambda: state(watch, name) == "ALARM", 60)
    assert time.monotonic() - began < 30

    for period in (1, 10, 60, 300):
        until(lambda period=period: sum(sums(watch, "Invocations", since, period, **where)) == 29)  # type: ignore[misc]
        assert sum(sums(watch, "InvocationsPerInstance", since, period, **where)) == 29
        assert sum(sums(watch, "Invocation5XXErrors", since, period, **where)) == 4
        assert sum(sums(watch, "Invocation4XXErrors", since, period, **where)) == 0
        assert sum(sums(watch, "InvocationModelErrors", since, period, **where)) == 4
        assert sum(sums(watch, "Invocation5XXErrors", since, period, "SampleCount", **where)) == 29
        assert sum(sums(watch, "ModelLatency", since, period, "SampleCount", **where)) == 29
    assert all(0 < value < 10e6 for value in sums(watch, "ModelLatency", since, 60, "Average", **where))
    until(lambda: any(value > 0 for value in sums(watch, "MemoryUtilization", since, 60, "Average", **where)), 20)
    until(lambda: sums(watch, "CPUUtilization", since, 60, "Average", **where), 20)
    listed = watch.list_metrics(Namespace="AWS/SageMaker", Dimensions=[{"Name": "EndpointName", "Value": name}])
    assert {"Invocations", "ModelLatency", "OverheadLatency"} <= {each["MetricName"] for each in listed["Metrics"]}
    user.sm.delete_endpoint(EndpointName=name)
    watch.delete_alarms(AlarmNames=[name])


def signed(server: Server, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    request = AWSRequest("POST", server.settings.endpoint + path, data=body, headers=headers)
    credentials = Credentials(server.key.access_key_id, server.key.secret)
    SigV4Auth(credentials, "monitoring", "us-east-1").add_auth(request)
    prepared = request.prepare()
    answer = URLLib3Session().send(prepared)
    return answer.status_code, answer.content


def test_old_and_other_clients_reach_it_too(server: Server) -> None:
    """The query protocol of older SDKs, and the RPC with CBOR of newer ones in other languages."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, body = signed(server, "/", b"Action=ListMetrics&Version=2010-08-01&Namespace=Nobody", form)
    assert (status, b"<ListMetricsResponse" in body) == (200, True), body
    status, body = signed(
        server, "/", b"Action=SetAlarmState&Version=2010-08-01&AlarmName=x&StateValue=OK&StateReason=r", form
    )
    assert (status, b"<Code>ResourceNotFound</Code>" in body) == (404, True), body
    rows = "".join(f"&MetricData.member.{n}.MetricName=m{n}&MetricData.member.{n}.Value={n}" for n in range(1, 301))
    packed = gzip.compress(f"Action=PutMetricData&Version=2010-08-01&Namespace=Packed{rows}".encode())
    status, body = signed(server, "/", packed, {**form, "Content-Encoding": "gzip"})  # as SDKs do from 10 KB on
    assert (status, b"<PutMetricDataResponse" in body) == (200, True), body
    assert len(server.client("cloudwatch").list_metrics(Namespace="Packed")["Metrics"]) == 300
    row = {"MetricName": "m", "Value": 1.5, "Timestamp": datetime.now(UTC)}
    status, body = signed(
        server,
        "/service/GraniteServiceVersion20100801/operation/PutMetricData",
        cbor2.dumps({"Namespace": "Cbor", "MetricData": [row]}),
        {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"},
    )
    assert status == 200, body
    assert server.client("cloudwatch").list_metrics(Namespace="Cbor")["Metrics"][0]["MetricName"] == "m"
