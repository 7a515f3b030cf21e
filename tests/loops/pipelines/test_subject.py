"""Executions over the handlers and a store in memory: turns of the real loop, jobs that the test ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.api.requests import IMAGE, PYTHON, ROLE, ZIP
from tests.api.world import World
from tests.loops.bundles import parent_ports

from clary.api.dispatch import answer
from clary.domain.errors import ClaryError, Stale
from clary.domain.grants import GrantChange
from clary.domain.pipelines import record
from clary.domain.pipelines.record import KIND, LOG_GROUP, ExecutionCommand, SeenExecution, log_stream
from clary.domain.resources import Lease, Query, Record, Scope
from clary.loops.core.loop import Loop
from clary.loops.pipelines.removal import RemovalSubject
from clary.loops.pipelines.subject import ExecutionSubject, attach
from clary.testing.clock import FakeClock
from clary.testing.store import MemoryStore

TRAINING = {
    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
    "RoleArn": ROLE,
    "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}
SCOPE = Scope("000000000000", "eu-west-1")
EQUAL = {"Type": "Equals", "LeftValue": {"Get": "Parameters.N"}, "RightValue": 3}


def train(name: str, hyper: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    arguments = {**TRAINING, "HyperParameters": hyper} if hyper else TRAINING
    return {"Name": name, "Type": "Training", "Arguments": arguments, **more}


def artifact(of: str) -> dict[str, str]:
    return {"Get": f"Steps.{of}.ModelArtifacts.S3ModelArtifacts"}


def text(*parts: Any) -> dict[str, Any]:
    return {"Std:Join": {"On": "", "Values": list(parts)}}


class Scene:
    """A world, and the loop of its executions."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.world = World({"b": {"m.tar.gz": b""}}, store)
        self.tokens = 0
        self.again()

    def again(self) -> None:
        """Another control plane, after the one before was killed: nothing but the store is left of it."""
        ports = self.world.ports
        mine = parent_ports(ports)
        self.subject = ExecutionSubject(mine)
        self.loop: Loop[ExecutionCommand, SeenExecution] = Loop(self.subject, ports.store, ports.clock, "o")

    async def create(self, *steps: Mapping[str, Any], name: str = "pipe", config: Any = None, **more: Any) -> None:
        parameters = [{"Name": "N", "Type": "Integer", "DefaultValue": 3}]
        whole = {"Version": "2020-12-01", "Parameters": parameters, "Steps": steps, "PipelineExperimentConfig": config}
        definition = json.dumps(whole)
        await self.world(
            "sagemaker",
            "CreatePipeline",
            PipelineName=name,
            PipelineDefinition=definition,
            RoleArn=ROLE,
            ClientRequestToken=self.token(),
            **more,
        )

    def token(self) -> str:
        self.tokens += 1
        return f"{self.tokens:032d}"

    async def start(self, **more: Any) -> str:
        params = {"PipelineName": "pipe", "ClientRequestToken": self.token(), **more}
        arn = str((await self.world("sagemaker", "StartPipelineExecution", **params))["PipelineExecutionArn"])
        await self.turns(arn)
        return arn

    async def record(self, arn: str) -> Record:
        found = await self.world.store.by_arn(arn)
        assert found is not None
        return found

    async def turns(self, arn: str) -> float | None:
        """As the loop would, until nothing changes. When to look again."""
        while True:
            before = (await self.record(arn)).version
            try:
                decision = await self.loop.turn(arn)
            except Stale:
                continue
            if (await self.record(arn)).version == before:
                return decision.again if decision else None

    async def jobs(self, status: str = "InProgress") -> dict[str, Record]:
        """Training jobs by the step whose name is in theirs."""
        world = self.world
        scope = Scope("000000000000", "eu-west-1")
        found = await world.store.page(Query("training-job", scope, statuses=(status,), limit=1000, descending=False))
        return {each.name.split("-")[2]: each for each in found}

    async def end(self, arn: str, step: str, status: str = "Completed", **more: Any) -> None:
        job = (await self.jobs())[step]
        document = {**job.document, "artifacts": f"s3://b/{step}", **more}
        await self.world.store.save(replace(job, status=status, document=document))
        await self.turns(arn)

    async def called(self, arn: str, step: str) -> None:
        """Wait for the answer of a step's function, and take it in."""
        await self.subject.tasks.settled(f"{arn} {step}/1")
        await self.turns(arn)

    async def statuses(self, arn: str) -> dict[str, str]:
        return {name: state["status"] for name, state in (await self.record(arn)).document["steps"].items()}

    def advance(self, seconds: float) -> None:
        clock = self.world.ports.clock
        assert isinstance(clock, FakeClock)
        clock.advance(seconds)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_step_begins_when_all_that_it_needs_has_succeeded(scene: Scene) -> None:
    await scene.create(train("C", {"a": artifact("A"), "b": artifact("B")}), train("A"), train("B"))
    arn = await scene.start()
    assert set(await scene.jobs()) == {"A", "B"}
    await scene.end(arn, "A")
    assert set(await scene.jobs()) == {"B"}
    await scene.end(arn, "B")
    assert (await scene.jobs())["C"].document["request"]["HyperParameters"] == {"a": "s3://b/A", "b": "s3://b/B"}
    assert (await scene.jobs())["C"].document["parent"] == arn
    await scene.end(arn, "C")
    assert (await scene.record(arn)).status == "Succeeded"


async def test_the_branch_that_is_not_chosen_and_what_needs_it_are_not_run(scene: Scene) -> None:
    gate = {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {"Conditions": [EQUAL], "IfSteps": [train("Yes")], "ElseSteps": [train("No")]},
    }
    await scene.create(gate, train("After", {"a": artifact("No")}), train("Later", DependsOn=["After"]))
    arn = await scene.start()
    assert await scene.statuses(arn) == {"Gate": "Succeeded", "Yes": "Executing"}
    await scene.end(arn, "Yes")
    assert (await scene.record(arn)).status == "Succeeded"
    assert (await scene.record(arn)).document["skipped"] == ["After", "Later", "No"]
    other = await scene.start(PipelineParameters=[{"Name": "N", "Value": "4"}])
    assert await scene.statuses(other) == {"Gate": "Succeeded", "No": "Executing"}


async def test_a_failed_step_lets_running_ones_end_and_starts_none(scene: Scene) -> None:
    await scene.create(train("A"), train("B"), train("C", DependsOn=["A"]))
    arn = await scene.start()
    await scene.end(arn, "B", "Failed", failure="AlgorithmError: my own")
    assert (await scene.record(arn)).status == "Executing"
    await scene.end(arn, "A")
    assert await scene.statuses(arn) == {"A": "Succeeded", "B": "Failed"}
    ended = await scene.world("sagemaker", "DescribePipelineExecution", PipelineExecutionArn=arn)
    assert ended["PipelineExecutionStatus"] == "Failed"
    assert ended["FailureReason"] == "Step failure: One or multiple steps failed."
    listed = await scene.world("sagemaker", "ListPipelineExecutionSteps", PipelineExecutionArn=arn)
    assert {s["StepName"]: s.get("FailureReason") for s in listed["PipelineExecutionSteps"]} == {
        "A": None,
        "B": "AlgorithmError: my own",
    }

    await scene.world("sagemaker", "RetryPipelineExecution", PipelineExecutionArn=arn, ClientRequestToken=scene.token())
    await scene.turns(arn)
    assert await scene.statuses(arn) == {"A": "Succeeded", "C": "Executing", "B": "Executing"}
    await scene.end(arn, "B")
    await scene.end(arn, "C")
    assert (await scene.record(arn)).status == "Succeeded"
    assert (await scene.record(arn)).document["steps"]["B"]["attempt"] == 2


async def test_numbers_are_texts_where_the_api_wants_texts(scene: Scene) -> None:
    """SDK v3 writes a parameter in hyperparameters as it is."""
    await scene.create(train("A", {"n": {"Get": "Parameters.N"}, "f": 0.5, "b": True}))
    await scene.start()
    assert (await scene.jobs())["A"].document["request"]["HyperParameters"] == {"n": "3", "f": "0.5", "b": "true"}


async def test_stop_asks_the_children_and_waits_for_them(scene: Scene) -> None:
    await scene.create(train("A"), train("B", DependsOn=["A"]))
    arn = await scene.start()
    asked = {"PipelineExecutionArn": arn, "ClientRequestToken": scene.token()}
    await scene.world("sagemaker", "StopPipelineExecution", **asked)
    await scene.turns(arn)
    job = (await scene.jobs("Stopping"))["A"]
    assert await scene.statuses(arn) == {"A": "Stopping"}
    await scene.world.store.save(replace(job, status="Stopped"))
    await scene.turns(arn)
    assert (await scene.record(arn)).status == "Stopped"
    assert await scene.statuses(arn) == {"A": "Stopped"}
    code, _ = await scene.world.refused("sagemaker", "StopPipelineExecution", **asked)
    assert code == "ConflictException"


async def test_no_more_steps_at_once_than_parallelism_allows(scene: Scene) -> None:
    await scene.create(*(train(f"S{n}") for n in range(5)), ParallelismConfiguration={"MaxParallelExecutionSteps": 2})
    arn = await scene.start()
    assert len(await scene.jobs()) == 2
    await scene.end(arn, "S0")
    assert len(await scene.jobs()) == 2
    config = {"MaxParallelExecutionSteps": 4}
    await scene.world("sagemaker", "UpdatePipelineExecution", PipelineExecutionArn=arn, ParallelismConfiguration=config)
    await scene.turns(arn)
    assert len(await scene.jobs()) == 4


async def test_a_retry_policy_makes_another_attempt_later(scene: Scene) -> None:
    policy = {"ExceptionType": ["SageMaker.CAPACITY_ERROR"], "IntervalSeconds": 5, "MaxAttempts": 1}
    await scene.create(train("A", RetryPolicies=[policy]))
    arn = await scene.start()
    first = (await scene.jobs())["A"].name
    job = (await scene.jobs())["A"]
    failed = {**job.document, "failure": "CapacityError: no room"}
    await scene.world.store.save(replace(job, status="Failed", document=failed))
    assert await scene.turns(arn) == 5.0
    assert await scene.jobs() == {}
    scene.advance(5)
    await scene.turns(arn)
    assert (await scene.jobs())["A"].name != first
    await scene.end(arn, "A", "Failed", failure="CapacityError: no room")
    assert (await scene.record(arn)).status == "Failed"
    listed = await scene.world("sagemaker", "ListPipelineExecutionSteps", PipelineExecutionArn=arn)
    assert listed["PipelineExecutionSteps"][0]["AttemptCount"] == 2


async def test_a_hit_of_the_cache_has_the_old_jobs_results_and_a_miss_its_reason(scene: Scene) -> None:
    cache = {"Enabled": True, "ExpireAfter": "PT1H"}
    first = train("A", {"n": text({"Get": "Parameters.N"})}, CacheConfig=cache)
    await scene.create(first, train("B", {"a": artifact("A")}))
    one = await scene.start()
    await scene.end(one, "A")
    await scene.end(one, "B")
    two = await scene.start()
    assert await scene.statuses(two) == {"A": "Succeeded", "B": "Executing"}
    listed = await scene.world("sagemaker", "ListPipelineExecutionSteps", PipelineExecutionArn=two)
    hit = next(s for s in listed["PipelineExecutionSteps"] if s["StepName"] == "A")
    assert hit["CacheHitResult"] == {"SourcePipelineExecutionArn": one}
    assert (await scene.jobs())["B"].document["request"]["HyperParameters"] == {"a": "s3://b/A"}
    three = await scene.start(PipelineParameters=[{"Name": "N", "Value": "4"}])
    assert (await scene.record(three)).document["steps"]["A"]["miss"] == "HyperParameters.n was 3, is 4"
    stream = log_stream("pipe", three.rpartition("/")[2])
    (line,) = scene.world.ports.logs.tail(Scope("000000000000", "eu-west-1"), LOG_GROUP, stream, 10)
    assert json.loads(line)["why"] == "HyperParameters.n was 3, is 4"
    scene.advance(3600)
    four = await scene.start()
    assert "expires after 3600 s" in (await scene.record(four)).document["steps"]["A"]["miss"]


async def test_a_cached_job_that_was_deleted_is_no_hit(scene: Scene) -> None:
    await scene.create(train("A", CacheConfig={"Enabled": True}))
    one = await scene.start()
    await scene.end(one, "A")
    job = (await scene.jobs("Completed"))["A"]
    await scene.world("sagemaker", "DeleteTrainingJob", TrainingJobName=job.name)
    two = await scene.start()
    assert (await scene.record(two)).document["steps"]["A"]["miss"].endswith("was deleted")
    assert await scene.statuses(two) == {"A": "Executing"}


async def test_a_selective_execution_takes_the_rest_from_its_source(scene: Scene) -> None:
    await scene.create(train("A"), train("B", {"a": artifact("A")}), train("C", {"b": artifact("B")}))
    one = await scene.start()
    await scene.end(one, "A")
    await scene.end(one, "B")
    chosen = {"SelectedSteps": [{"StepName": "B"}], "SourcePipelineExecutionArn": one}
    with pytest.raises(ClaryError, match="Executing: wait"):
        await scene.start(SelectiveExecutionConfig=chosen)
    await scene.end(one, "C")
    two = await scene.start(SelectiveExecutionConfig=chosen)
    assert (await scene.jobs())["B"].document["request"]["HyperParameters"] == {"a": "s3://b/A"}
    await scene.end(two, "B")
    assert (await scene.record(two)).status == "Succeeded"
    listed = await scene.world("sagemaker", "ListPipelineExecutionSteps", PipelineExecutionArn=two)
    taken = {s["StepName"]: s.get("SelectiveExecutionResult") for s in listed["PipelineExecutionSteps"]}
    assert taken == {"A": {"SourcePipelineExecutionArn": one}, "B": None}
    with pytest.raises(ClaryError, match="need results of A"):
        await scene.start(SelectiveExecutionConfig={"SelectedSteps": [{"StepName": "B"}]})


async def test_models_and_packages_end_when_they_are_made(scene: Scene) -> None:
    model = {
        "Name": "Make",
        "Type": "Model",
        "Arguments": {
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"},
        },
    }
    container = {
        "Image": IMAGE,
        "ModelDataUrl": "s3://b/m.tar.gz",
        "Environment": {"M": {"Get": "Steps.Make.ModelName"}},
    }
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": "fresh",
            "InferenceSpecification": {"Containers": [container]},
            "Tags": [{"Key": "k", "Value": "v"}],
        },
    }
    after = train("After", {"p": {"Get": "Steps.Register.ModelPackageArn"}})
    await scene.create(register, model, after)
    arn = await scene.start()
    assert await scene.statuses(arn) == {"Make": "Succeeded", "Register": "Succeeded", "After": "Executing"}
    hyper = (await scene.jobs())["After"].document["request"]["HyperParameters"]
    assert hyper["p"].endswith("model-package/fresh/1")
    package = await scene.world("sagemaker", "DescribeModelPackage", ModelPackageName=hyper["p"])
    name = package["InferenceSpecification"]["Containers"][0]["Environment"]["M"]
    assert name.startswith("pipelines-")
    again = await scene.start()
    assert (await scene.record(again)).document["steps"]["Register"]["arn"].endswith("fresh/2")


async def test_a_refused_child_fails_its_step_with_the_reason(scene: Scene) -> None:
    wrong = {**TRAINING, "AlgorithmSpecification": {"TrainingImage": "nothing", "TrainingInputMode": "File"}}
    await scene.create({"Name": "A", "Type": "Training", "Arguments": wrong})
    arn = await scene.start()
    record = await scene.record(arn)
    assert record.status == "Failed"
    assert "nothing" in record.document["steps"]["A"]["failure"]


async def test_an_expression_without_a_result_fails_its_step(scene: Scene) -> None:
    await scene.create(train("A"), train("B", {"x": {"Get": "Steps.A.CheckpointConfig.S3Uri"}}))
    arn = await scene.start()
    await scene.end(arn, "A")
    assert (await scene.record(arn)).document["steps"]["B"]["failure"] == "Steps.A.CheckpointConfig.S3Uri is undefined."
    assert (await scene.record(arn)).status == "Failed"


async def callback(scene: Scene) -> tuple[str, dict[str, Any]]:
    """An execution whose Callback step waits, and the message that it sent."""
    url = (await scene.world("sqs", "CreateQueue", QueueName="asked"))["QueueUrl"]
    ask = {
        "Name": "Ask",
        "Type": "Callback",
        "Arguments": {"n": {"Get": "Parameters.N"}},
        "SqsQueueUrl": url,
        "OutputParameters": [{"OutputName": "count", "OutputType": "Integer"}],
    }
    await scene.create(ask, train("A", {"c": text({"Get": "Steps.Ask.OutputParameters['count']"})}))
    arn = await scene.start()
    received = await scene.world("sqs", "ReceiveMessage", QueueUrl=url)
    return arn, json.loads(received["Messages"][0]["Body"])


async def test_a_callback_step_waits_for_the_answer_to_its_token(scene: Scene) -> None:
    arn, message = await callback(scene)
    token = message.pop("token")
    assert message == {"pipelineExecutionArn": arn, "arguments": {"n": 3}, "status": "Executing"}
    assert len(token) == 10
    assert await scene.statuses(arn) == {"Ask": "Executing"}
    wrong = "a" * 10
    for params, words in (
        ({"CallbackToken": wrong}, "No step that runs"),
        ({"CallbackToken": token, "OutputParameters": [{"Name": "x", "Value": "1"}]}, "no output parameter 'x'"),
        ({"CallbackToken": token, "OutputParameters": [{"Name": "count", "Value": "y"}]}, "must be of type Integer"),
    ):
        with pytest.raises(ClaryError, match=words):
            await scene.world("sagemaker", "SendPipelineExecutionStepSuccess", **params)
    good = {"CallbackToken": token, "OutputParameters": [{"Name": "count", "Value": "7"}]}
    for _ in range(2):
        answer = await scene.world("sagemaker", "SendPipelineExecutionStepSuccess", **good)
        assert answer == {"PipelineExecutionArn": arn}
    with pytest.raises(ClaryError, match="No step that runs"):
        await scene.world("sagemaker", "SendPipelineExecutionStepFailure", CallbackToken=token)
    await scene.turns(arn)
    assert (await scene.jobs())["A"].document["request"]["HyperParameters"] == {"c": "7"}
    listed = await scene.world("sagemaker", "ListPipelineExecutionSteps", PipelineExecutionArn=arn)
    shown = next(s for s in listed["PipelineExecutionSteps"] if s["StepName"] == "Ask")["Metadata"]["Callback"]
    assert shown["CallbackToken"] == token
    assert shown["OutputParameters"] == [{"Name": "count", "Value": "7"}]


async def test_a_token_that_is_guessed_or_somebody_elses_is_not_found(scene: Scene) -> None:
    arn, message = await callback(scene)
    token = message["token"]
    state = (await scene.record(arn)).document["steps"]["Ask"]
    for guess in (token[::-1], token.swapcase(), token[:-1] + ("a" if token[-1] != "a" else "b"), "0" * 10):
        with pytest.raises(ClaryError, match="No step that runs"):
            await scene.world("sagemaker", "SendPipelineExecutionStepSuccess", CallbackToken=guess)
    for where in ({"account": "111111111111"}, {"region": "us-west-2"}):
        with pytest.raises(ClaryError, match="No step that runs"):
            await answer(
                scene.world.ports,
                "sagemaker",
                "SendPipelineExecutionStepFailure",
                {"CallbackToken": token},
                **{"account": "000000000000", "region": "eu-west-1", "principal": "p", **where},
            )
    assert (await scene.record(arn)).document["steps"]["Ask"] == state
    described = await scene.world("sagemaker", "DescribePipelineExecution", PipelineExecutionArn=arn)
    assert "secret" not in json.dumps(described, default=str)
    await scene.world("sagemaker", "SendPipelineExecutionStepSuccess", CallbackToken=token)
    await scene.turns(arn)
    with pytest.raises(ClaryError, match="No step that runs"):  # it has ended
        await scene.world("sagemaker", "SendPipelineExecutionStepFailure", CallbackToken=token)


def test_tokens_follow_from_the_executions_secret() -> None:
    """Who knows everything else of an execution knows no token of it; and no two are the same."""

    def made(secret: str, step: str, attempt: int) -> str:
        return record.token(Record(KIND, SCOPE, "n", "arn", "", 0.0, 0.0, {"secret": secret}), step, attempt)

    tokens = [made(f"s{n}", "Ask", 1) for n in range(2000)] + [made("s0", f"A{n}", 2) for n in range(2000)]
    assert len(set(tokens)) == 4000
    assert all(len(each) == 10 and each.isalnum() for each in tokens)
    assert all(len({each[place] for each in tokens}) > 20 for place in range(10))


async def test_a_callback_that_fails_fails_its_step(scene: Scene) -> None:
    arn, message = await callback(scene)
    told = {"CallbackToken": message["token"], "FailureReason": "nobody there"}
    await scene.world("sagemaker", "SendPipelineExecutionStepFailure", **told)
    await scene.turns(arn)
    assert (await scene.record(arn)).status == "Failed"
    assert (await scene.record(arn)).document["steps"]["Ask"]["failure"] == "nobody there"


async def test_a_stop_tells_the_callbacks_queue_and_waits(scene: Scene) -> None:
    arn, message = await callback(scene)
    asked = {"PipelineExecutionArn": arn, "ClientRequestToken": scene.token()}
    await scene.world("sagemaker", "StopPipelineExecution", **asked)
    await scene.turns(arn)
    url = (await scene.world("sqs", "GetQueueUrl", QueueName="asked"))["QueueUrl"]
    received = await scene.world("sqs", "ReceiveMessage", QueueUrl=url)
    assert json.loads(received["Messages"][0]["Body"]) == {**message, "status": "Stopping"}
    assert (await scene.record(arn)).status == "Stopping"
    await scene.world("sagemaker", "SendPipelineExecutionStepFailure", CallbackToken=message["token"])
    await scene.turns(arn)
    assert (await scene.record(arn)).status == "Stopped"
    assert await scene.statuses(arn) == {"Ask": "Stopped"}


def function_step(arn: str, outputs: Mapping[str, str], arguments: Any) -> dict[str, Any]:
    declared = [{"OutputName": name, "OutputType": kind} for name, kind in outputs.items()]
    return {
        "Name": "Ask",
        "Type": "Lambda",
        "Arguments": arguments,
        "FunctionArn": arn,
        "OutputParameters": declared,
    }


async def function(scene: Scene) -> str:
    """The ARN of a function that answers its event (`MemoryFunctions`)."""
    made = await scene.world(
        "lambda",
        "CreateFunction",
        FunctionName="echo",
        Runtime=PYTHON,
        Role=ROLE,
        Handler="f.h",
        Code={"ZipFile": ZIP},
    )
    return str(made["FunctionArn"])


async def test_a_lambda_step_has_the_keys_of_the_functions_answer(scene: Scene) -> None:
    arguments = {"n": {"Get": "Parameters.N"}, "deep": {"a": [1]}}
    ask = function_step(await function(scene), {"n": "Integer", "deep": "String", "other": "String"}, arguments)
    use = {"n": text({"Get": "Steps.Ask.OutputParameters['n']"}), "d": {"Get": "Steps.Ask.OutputParameters['deep']"}}
    await scene.create(ask, train("A", use))
    arn = await scene.start()
    await scene.called(arn, "Ask")
    assert (await scene.jobs())["A"].document["request"]["HyperParameters"] == {"n": "3", "d": '{"a":[1]}'}
    listed = await scene.world("sagemaker", "ListPipelineExecutionSteps", PipelineExecutionArn=arn)
    shown = next(s for s in listed["PipelineExecutionSteps"] if s["StepName"] == "Ask")["Metadata"]["Lambda"]
    assert shown["OutputParameters"] == [{"Name": "n", "Value": "3"}, {"Name": "deep", "Value": '{"a":[1]}'}]


@pytest.mark.parametrize(
    ("arguments", "words"), [({"fail": "my own"}, "my own"), ({"n": "text"}, "must be of type Integer")]
)
async def test_a_function_that_fails_or_answers_something_else_fails_its_step(
    scene: Scene, arguments: dict[str, Any], words: str
) -> None:
    await scene.create(function_step(await function(scene), {"n": "Integer"}, arguments))
    arn = await scene.start()
    await scene.called(arn, "Ask")
    assert (await scene.record(arn)).status == "Failed"
    assert words in (await scene.record(arn)).document["steps"]["Ask"]["failure"]


async def test_a_callback_to_no_queue_fails_its_step(scene: Scene) -> None:
    url = "http://127.0.0.1/000000000000/missing"
    await scene.create({"Name": "Ask", "Type": "Callback", "Arguments": {}, "SqsQueueUrl": url})
    arn = await scene.start()
    assert "does not exist" in (await scene.record(arn)).document["steps"]["Ask"]["failure"]


class Killed(Exception):
    """The process ends here."""


class Mortal(MemoryStore):
    """A store whose process dies at the n-th write, before or after it."""

    def __init__(self) -> None:
        super().__init__()
        self.left = -1
        self.after = False

    def _count(self) -> bool:
        self.left -= 1
        return self.left == 0

    async def add(self, record: Record, made_by: str = "", *more: Any) -> Record:
        dies = self._count()
        if dies and not self.after:
            raise Killed
        found = await super().add(record, made_by, *more)
        if dies:
            raise Killed
        return found

    async def save(self, record: Record, lease: Lease | None = None, change: GrantChange | None = None) -> Record:
        dies = self._count()
        if dies and not self.after:
            raise Killed
        found = await super().save(record, lease, change)
        if dies:
            raise Killed
        return found


@pytest.mark.parametrize("after", [False, True])
async def test_a_kill_at_any_write_makes_nothing_twice(after: bool) -> None:
    """The whole of a small pipeline, killed at its first write, at its second, and so on."""
    for at in range(1, 12):
        store = Mortal()
        scene = Scene(store)
        store.after = after
        await scene.create(train("A"), train("B", {"a": artifact("A")}), train("C", DependsOn=["A"]))
        asked = {"PipelineName": "pipe", "ClientRequestToken": scene.token()}
        arn = str((await scene.world("sagemaker", "StartPipelineExecution", **asked))["PipelineExecutionArn"])
        store.left = at
        killed = 0
        while (await scene.record(arn)).status == "Executing":
            try:
                await scene.turns(arn)
                for name in sorted(await scene.jobs()):
                    await scene.end(arn, name)
                    break
            except Killed:
                killed += 1
                scene.again()
        assert killed == (1 if store.left <= 0 else 0)
        assert (await scene.record(arn)).status == "Succeeded"
        jobs = await store.page(Query("training-job", Scope("000000000000", "eu-west-1"), limit=100))
        assert sorted(each.name.split("-")[2] for each in jobs) == ["A", "B", "C"]


async def test_two_control_planes_on_one_execution_make_nothing_twice() -> None:
    """Each has its own loop, memory and name; their turns come between each other, and the lease of one passes in the midst."""
    store = MemoryStore()
    scene = Scene(store)
    await scene.create(
        train("A"), train("B", {"a": artifact("A")}), train("C", DependsOn=["A"]), train("D", DependsOn=["B", "C"])
    )
    arn = str((await scene.world("sagemaker", "StartPipelineExecution", PipelineName="pipe",
                                 ClientRequestToken=scene.token()))["PipelineExecutionArn"])  # fmt: skip
    ports = scene.world.ports
    mine = parent_ports(ports)
    loops = [Loop(ExecutionSubject(mine), store, ports.clock, owner) for owner in ("one", "two")]
    for _ in range(200):
        if (await scene.record(arn)).status != "Executing":
            break
        await asyncio.gather(*(each.turn(arn) for each in loops), return_exceptions=True)
        for job in (await scene.jobs()).values():
            await store.save(
                replace(job, status="Completed", document={**job.document, "artifacts": f"s3://b/{job.name}"})
            )
            break
        scene.advance(30.0)  # longer than a lease: the other may take it
    assert (await scene.record(arn)).status == "Succeeded"
    made = await store.page(Query("training-job", SCOPE, limit=100))
    assert sorted(each.name.split("-")[2] for each in made) == ["A", "B", "C", "D"]
    states = (await scene.record(arn)).document["steps"]
    assert {name: state["attempt"] for name, state in states.items()} == dict.fromkeys("ABCD", 1)


async def test_the_end_of_a_child_wakes_its_execution(scene: Scene) -> None:
    await scene.create(train("A"))
    arn = await scene.start()
    woken: list[str] = []

    class Ears:
        def wake(self, who: str) -> None:
            woken.append(who)

    leave = attach(scene.subject, Ears(), scene.world.store)  # type: ignore[arg-type]
    job = (await scene.jobs())["A"]
    job = await scene.world.store.save(replace(job, modified=1.0))
    assert woken == []
    await scene.world.store.save(replace(job, status="Completed"))
    assert woken == [arn]
    leave()


async def test_a_deleted_pipeline_goes_with_all_that_it_holds(scene: Scene) -> None:
    await scene.create({"Name": "End", "Type": "Fail", "Arguments": {"ErrorMessage": "m"}})
    await scene.create(train("A"), name="pipe2")
    arns = [await scene.start() for _ in range(3)]
    other = await scene.start(PipelineName="pipe2")
    code, words = await scene.world.refused(
        "sagemaker", "DeletePipeline", PipelineName="pipe2", ClientRequestToken=scene.token()
    )
    assert code == "ConflictException"
    assert other in words
    await scene.world("sagemaker", "DeletePipeline", PipelineName="pipe", ClientRequestToken=scene.token())
    ports = scene.world.ports
    loop = Loop(RemovalSubject(ports.store, ports.clock), ports.store, ports.clock, "o")
    pipeline = f"{arns[0].rpartition('/execution/')[0]}"
    while await ports.store.by_arn(pipeline) is not None:
        await loop.turn(pipeline)
    assert [await ports.store.by_arn(arn) for arn in arns] == [None] * 3
    assert await ports.store.by_arn(other) is not None
    scope = Scope("000000000000", "eu-west-1")
    assert [each.name.split("/")[0] for each in await ports.store.page(Query("pipeline-definition", scope))] == [
        "pipe2"
    ]
    assert [each.name for each in await ports.store.page(Query(KIND, scope))] != []


EXPERIMENT = {
    "ExperimentName": {"Get": "Execution.PipelineName"},
    "TrialName": {"Get": "Execution.PipelineExecutionId"},
}


async def test_an_execution_makes_its_experiment_and_trial_and_its_jobs_are_in_it(scene: Scene) -> None:
    await scene.create(train("A"), config=EXPERIMENT)
    arns = [await scene.start() for _ in range(2)]
    told = await scene.world("sagemaker", "DescribePipelineExecution", PipelineExecutionArn=arns[1])
    placed = {"ExperimentName": "pipe", "TrialName": arns[1].rpartition("/")[2]}
    assert told["PipelineExperimentConfig"] == placed
    trials = (await scene.world("sagemaker", "ListTrials", ExperimentName="pipe"))["TrialSummaries"]
    assert {each["TrialName"] for each in trials} == {arn.rpartition("/")[2] for arn in arns}
    job = (await scene.record(arns[1])).document["steps"]["A"]["child"]
    described = await scene.world("sagemaker", "DescribeTrainingJob", TrainingJobName=job)
    assert described["ExperimentConfig"] == placed


async def test_an_experiment_that_cannot_be_made_fails_the_execution(scene: Scene) -> None:
    await scene.create(train("A"), config={**EXPERIMENT, "ExperimentName": "a name"})
    arn = await scene.start()
    failed = await scene.record(arn)
    assert failed.status == "Failed"
    assert failed.document["failure"].startswith("The experiment of PipelineExperimentConfig cannot be made: ")
    assert await scene.jobs() == {}
