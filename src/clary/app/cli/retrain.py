"""`clary retrain`: what retrains an endpoint by itself, stored as its tags; `--init` makes the template pipeline, `--now` asks for one.

A client of the public API: whatever it writes, an unmodified client can.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clary.app.cli.client import Client
from clary.app.cli.history import one_line, stream_of, when
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused, say, say_json, table
from clary.app.cli.retrain_template import OBJECTIVES, Template, definition
from clary.app.cli.site import Site, endpoint_name, here
from clary.domain.access.roles import default_role_arn
from clary.domain.errors import Invalid
from clary.domain.monitoring import metrics
from clary.domain.monitoring.retraining import ASK, TAG, RetrainPlan
from clary.domain.names import RETRAINING_STREAM
from clary.domain.registry import aliases, following
from clary.domain.s3 import parse_uri

_LAST = 10  # lines of what happened


@dataclass(frozen=True, slots=True)
class RetrainRequest:
    """The command's options."""

    pipeline: str = ""
    gate: str = ""
    on: str = ""
    alarms: str = ""
    every: str = ""
    rows: str = ""
    fresh: str = ""
    cooldown: str = ""
    budget: str = ""
    topic: str = ""
    init: bool = False
    now: bool = False
    off: bool = False
    manual: bool = False
    holdout: str = ""
    metric: str = ""
    problem: str = "binary"
    facet: str = ""
    window: str = ""
    half_life: str = ""
    hyperparameters: str = ""


def retrain(directory: str | None, endpoint: str, asked: RetrainRequest, *, as_json: bool) -> None:
    site, name = here(directory), endpoint_name(endpoint)
    client = site.client()
    told = client.call("sagemaker", "DescribeEndpoint", {"EndpointName": name})
    arn = str(told["EndpointArn"])
    tags = {tag["Key"]: tag["Value"] for tag in client.pages("sagemaker", "ListTags", "Tags", {"ResourceArn": arn})}
    if asked.off:
        client.call("sagemaker", "DeleteTags", {"ResourceArn": arn, "TagKeys": [TAG, ASK]})
        say(f"{name} does not retrain itself any more")
        return
    pipeline = asked.pipeline or f"retrain-{name}"
    if asked.init:
        _init(site, client, told, tags, pipeline, asked)
    written = dict(tags)
    if asked.init or asked.pipeline or TAG not in tags or any(_options(asked).values()):
        written[TAG] = plan_of(tags.get(TAG, ""), pipeline if asked.init or asked.pipeline else "", asked)
    if asked.now:
        written[ASK] = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}-{uuid.uuid4().hex[:6]}"
    changed = [{"Key": key, "Value": value} for key, value in written.items() if tags.get(key) != value]
    if changed:
        client.call("sagemaker", "AddTags", {"ResourceArn": arn, "Tags": changed})
    _show(client, name, written, as_json=as_json)


def _options(asked: RetrainRequest) -> Mapping[str, str]:
    names = ("gate", "on", "alarms", "every", "rows", "fresh", "cooldown", "budget", "topic")
    return {name: getattr(asked, name) for name in names if getattr(asked, name)}


def plan_of(before: str, pipeline: str, asked: RetrainRequest) -> str:
    """The tag's value: what was there, with what is said now over it. Refused when that is no plan."""
    given = dict(word.split("=", 1) for word in before.split() if "=" in word)
    given |= _options(asked)
    if pipeline:
        given["pipeline"] = pipeline
    text = " ".join(f"{name}={value}" for name, value in given.items())
    try:
        RetrainPlan.read(text)
    except Invalid as error:
        raise CommandRefused(f"{error.message} `--init` makes a pipeline.", USAGE) from None
    return text


def _show(client: Client, name: str, tags: Mapping[str, str], *, as_json: bool) -> None:
    steps = stream_of(client, name, RETRAINING_STREAM)
    if as_json:
        say_json({"endpoint": name, "plan": tags.get(TAG, ""), "asked": tags.get(ASK, ""), "history": steps})
        return
    say(f"{name}: {tags.get(TAG) or 'does not retrain itself'}")
    if steps:
        rows = [(when(step["at"]), step["what"], one_line(step["why"], 300)) for step in steps[-_LAST:]]
        say(table(("when", "what", "why"), rows))


# -- the template -----------------------------------------------------------------------------------------------------------------------


def _init(
    site: Site, client: Client, told: Mapping[str, Any], tags: Mapping[str, str], pipeline: str, asked: RetrainRequest
) -> None:
    """Make or update the template pipeline for the endpoint. Refused, with what to do, where the loop could not close."""
    name = told["EndpointName"]
    if asked.problem not in OBJECTIVES:
        raise CommandRefused(f"--problem is one of {', '.join(OBJECTIVES)}, not {asked.problem!r}", USAGE)
    follow = tags.get(aliases.FOLLOW, "")
    if not follow:
        raise CommandRefused(
            f"endpoint {name!r} follows no alias, so that it could not move to a new version: make its model from a "
            f"version of the registry and give the endpoint the tag {aliases.FOLLOW}=GROUP@ALIAS (docs/registry.md)"
        )
    capture = told.get("DataCaptureConfig")
    if not capture:
        raise CommandRefused(
            f"endpoint {name!r} captures nothing: its config needs a DataCaptureConfig (docs/drift.md)"
        )
    config = client.call("sagemaker", "DescribeEndpointConfig", {"EndpointConfigName": told["EndpointConfigName"]})
    model = config["ProductionVariants"][0]["ModelName"]
    group, alias = aliases.followed(follow)
    folder = f"s3://{site.settings.default_bucket}/retraining/{name}"
    destination = str(capture["DestinationS3Uri"]).rstrip("/")
    template = Template(
        name,
        model,
        _image(client, model),
        group,
        alias,
        default_role_arn(site.settings.account, site.settings.region),
        f"{destination}/{name}",
        f"{destination}/ground-truth/{name}",
        folder,
        asked.problem,
        _hyperparameters(asked.hyperparameters),
        {key: value for key, value in (("window", asked.window), ("half-life", asked.half_life)) if value},
        {key: value for key, value in (("metric", asked.metric), ("facet", asked.facet)) if value},
        asked.holdout,
        _brief(site, asked.gate, folder),
        asked.manual,
    )
    _bucket(site)
    body = {"PipelineName": pipeline, "PipelineDefinition": json.dumps(definition(template)), "RoleArn": template.role}
    for variant in config["ProductionVariants"][: following.MOST_ALARMS]:
        client.call("monitoring", "PutMetricAlarm", guard(str(name), str(variant["VariantName"])))
    known = client.pages("sagemaker", "ListPipelines", "PipelineSummaries", {"PipelineNamePrefix": pipeline})
    if any(each["PipelineName"] == pipeline for each in known):
        client.call("sagemaker", "UpdatePipeline", body)
    else:
        client.call("sagemaker", "CreatePipeline", {**body, "ClientRequestToken": uuid.uuid4().hex})


def guard(endpoint: str, variant: str) -> dict[str, Any]:
    """The alarm on a canary that is worse by labels than the fleet beside it. Moves of the endpoint name it in their DeploymentConfig."""
    dimensions = {"EndpointName": endpoint, "VariantName": variant}
    return {
        "AlarmName": following.guard_name(endpoint, variant),
        "AlarmDescription": f"The newest version behind {endpoint} is worse by its labels than the one that it is to replace.",
        "Namespace": metrics.NAMESPACE,
        "MetricName": metrics.WORSE_THAN_BEFORE,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        "Statistic": "Maximum",
        "Period": 10,
        "EvaluationPeriods": 1,
        "Threshold": 0.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }


def _image(client: Client, model: str) -> str:
    """The image of a model, which may be that of the version it was made from."""
    told = client.call("sagemaker", "DescribeModel", {"ModelName": model})
    container = told.get("PrimaryContainer") or (told.get("Containers") or [{}])[0]
    if container.get("Image"):
        return str(container["Image"])
    if container.get("ModelPackageName"):
        package = client.call("sagemaker", "DescribeModelPackage", {"ModelPackageName": container["ModelPackageName"]})
        return str(package["InferenceSpecification"]["Containers"][0]["Image"])
    raise CommandRefused(f"model {model!r} has no image that could be trained", NOT_FOUND)


def _hyperparameters(text: str) -> dict[str, str]:
    try:
        given = json.loads(text) if text else {}
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise CommandRefused(f"--hyperparameters is a JSON object, not {text!r}", USAGE)
    return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}


def _s3(site: Site) -> Any:
    import boto3

    credential, settings = site.credential(), site.settings
    session = boto3.Session(credential.access_key_id, credential.secret, region_name=settings.region)
    return session.client("s3", endpoint_url=settings.endpoint, verify=settings.tls_cert or None)


def _bucket(site: Site) -> None:
    from botocore.exceptions import ClientError

    s3, name, region = _s3(site), site.settings.default_bucket, site.settings.region
    try:
        s3.head_bucket(Bucket=name)
    except ClientError:
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=name, **where)


def _brief(site: Site, given: str, folder: str) -> str:
    """Where the brief is in S3, after uploading one that is local."""
    if not given or given.startswith("s3://"):
        return given
    path = Path(given)
    if not path.is_file():
        raise CommandRefused(f"{given}: there is no such file", NOT_FOUND)
    _bucket(site)
    place = parse_uri(f"{folder}/brief/{path.name}")
    _s3(site).put_object(Bucket=place.bucket, Key=place.key, Body=path.read_bytes())
    return str(place)
