"""`clary registry`: model package groups and their versions: lists them, compares two, decides on one, moves aliases."""

from __future__ import annotations

import json
import time
from typing import Any

from clary.app.cli.client import Client
from clary.app.cli.output import NOT_FOUND, CommandRefused, age, say, say_json, table
from clary.app.cli.site import Site, here
from clary.domain.registry import aliases, approvals, comparison
from clary.domain.registry.following import FOLLOWERS
from clary.domain.s3 import parse_uri

_LARGEST = 4 << 20  # bytes of a report


def groups(directory: str | None, *, as_json: bool) -> None:
    """All groups: how many versions, which is the newest approved one, and their aliases."""
    client = here(directory).client()
    rows = []
    for group in client.pages("sagemaker", "ListModelPackageGroups", "ModelPackageGroupSummaryList"):
        name = group["ModelPackageGroupName"]
        versions = _versions(client, name)
        approved = [each["version"] for each in versions if each["approval"] == "Approved"]
        rows.append(
            {
                "group": name,
                "versions": len(versions),
                "approved": max(approved, default=None),
                "aliases": {alias: each["version"] for each in versions for alias in each["aliases"]},
                "created": group["CreationTime"],
            }
        )
    if as_json:
        say_json(rows)
        return
    cells = [
        [
            row["group"],
            row["versions"],
            row["approved"] or "-",
            _named(row["aliases"]),
            age(row["created"], time.time()),
        ]
        for row in rows
    ]
    say(table(("GROUP", "VERSIONS", "APPROVED", "ALIASES", "AGE"), cells, ("AGE",)))


def _named(held: dict[str, int]) -> str:
    return " ".join(f"{alias}={version}" for alias, version in sorted(held.items())) or "-"


def versions(directory: str | None, group: str, *, as_json: bool) -> None:
    """The versions of a group with the last decision on each, and who follows an alias of it."""
    client = here(directory).client()
    described = client.call("sagemaker", "DescribeModelPackageGroup", {"ModelPackageGroupName": group})
    rows = _versions(client, group)
    followers = _tags(client, described["ModelPackageGroupArn"]).get(FOLLOWERS, "")
    if as_json:
        say_json({"group": described["ModelPackageGroupName"], "versions": rows, "followers": followers})
        return
    cells = [
        [
            row["version"],
            row["approval"],
            " ".join(row["aliases"]) or "-",
            row["stage"] or "-",
            age(row["created"], time.time()),
            row["decision"] or row["description"] or "-",
        ]
        for row in rows
    ]
    say(table(("VERSION", "STATUS", "ALIASES", "STAGE", "AGE", "DECISION"), cells, ("AGE", "STAGE")))
    for line in followers.split("; ") if followers else ():
        say(f"follows: {line}")


def _versions(client: Client, group: str) -> list[dict[str, Any]]:
    asked = {"ModelPackageGroupName": group, "SortBy": "CreationTime", "SortOrder": "Ascending", "MaxResults": 100}
    found = []
    for each in client.pages("sagemaker", "ListModelPackages", "ModelPackageSummaryList", asked):
        tags = _tags(client, each["ModelPackageArn"])
        found.append(
            {
                "version": each["ModelPackageVersion"],
                "arn": each["ModelPackageArn"],
                "approval": each["ModelApprovalStatus"],
                "aliases": tags.get(aliases.TAG, "").split(),
                "stage": (each.get("ModelLifeCycle") or {}).get("Stage", ""),
                "created": each["CreationTime"],
                "decision": tags.get(approvals.TAG, ""),
                "description": each.get("ModelPackageDescription", ""),
            }
        )
    return found


def _tags(client: Client, arn: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in client.call("sagemaker", "ListTags", {"ResourceArn": arn})["Tags"]}


def _package(client: Client, group: str, version: str) -> dict[str, Any]:
    """A version by its number or an alias."""
    described = client.call("sagemaker", "DescribeModelPackageGroup", {"ModelPackageGroupName": group})
    arn = described["ModelPackageGroupArn"].replace(":model-package-group/", ":model-package/", 1)
    mark = "/" if version.isdecimal() else "@"
    return client.call("sagemaker", "DescribeModelPackage", {"ModelPackageName": f"{arn}{mark}{version}"})


def compare(directory: str | None, group: str, one: str, other: str, *, everything: bool, as_json: bool) -> None:
    """Show in what two versions differ."""
    site = here(directory)
    client = site.client()
    both = [_package(client, group, version) for version in (one, other)]
    facts = [comparison.facts(each, _job(client, each), _reports(site, each)) for each in both]
    unlike = comparison.differences(facts[0], facts[1])
    names = [f"version {each['ModelPackageVersion']}" for each in both]
    if as_json:
        say_json({"versions": [each["ModelPackageVersion"] for each in both], "facts": facts, "differences": unlike})
        return
    rows = []
    for section in comparison.SECTIONS:
        whole = {name: tuple(each[section].get(name, "") for each in facts) for each in facts for name in each[section]}
        shown = whole if everything else unlike.get(section, {})
        rows += [[section, name, *(value or "-" for value in values)] for name, values in shown.items()]
    if rows:
        say(table(("SECTION", "WHAT", *names), rows))
    else:
        say(f"{names[0]} and {names[1]} of {group} do not differ")


def _job(client: Client, package: dict[str, Any]) -> dict[str, Any] | None:
    """The training job that wrote the first container's model; None where there is none, or several."""
    containers = (package.get("InferenceSpecification") or {}).get("Containers") or ()
    data = next((comparison.model_data(each) for each in containers if comparison.model_data(each)), "")
    if not data:
        return None
    wanted = {"Name": "ModelArtifacts.S3ModelArtifacts", "Operator": "Equals", "Value": data}
    asked = {"Resource": "TrainingJob", "SearchExpression": {"Filters": [wanted]}}
    found = [each["TrainingJob"] for each in client.call("sagemaker", "Search", asked)["Results"]]
    return dict(found[0]) if len(found) == 1 else None


def _reports(site: Site, package: dict[str, Any]) -> dict[str, Any]:
    """The documents that ModelMetrics names; those that are gone, too large or no JSON are left out."""
    places = comparison.reports_of(package)
    if not places:
        return {}
    import boto3
    from botocore.exceptions import ClientError

    credential, settings = site.credential(), site.settings
    s3: Any = boto3.Session(credential.access_key_id, credential.secret, region_name=settings.region).client(
        "s3", endpoint_url=settings.endpoint, verify=settings.tls_cert or None
    )
    found = {}
    for place, uri in places.items():
        where = parse_uri(uri)
        try:
            answer = s3.get_object(Bucket=where.bucket, Key=where.key)
            if answer["ContentLength"] <= _LARGEST:
                found[place] = json.loads(answer["Body"].read())
        except (ClientError, ValueError):
            continue
    return found


def decide(directory: str | None, group: str, version: str, status: str, comment: str, *, as_json: bool) -> None:
    """Approve or reject a version."""
    client = here(directory).client()
    package = _package(client, group, version)
    asked = {"ModelPackageArn": package["ModelPackageArn"], "ModelApprovalStatus": status}
    client.call("sagemaker", "UpdateModelPackage", {**asked, **({"ApprovalDescription": comment} if comment else {})})
    decision = _tags(client, package["ModelPackageArn"])[approvals.TAG]
    if as_json:
        say_json({"arn": package["ModelPackageArn"], "approval": status, "decision": decision})
    else:
        say(f"version {package['ModelPackageVersion']} of {group}: {decision}")


def name(directory: str | None, group: str, version: str, alias: str, *, as_json: bool) -> None:
    """Move an alias to a version, which keeps those that it has."""
    client = here(directory).client()
    package = _package(client, group, version)
    arn = package["ModelPackageArn"]
    if aliases.parsed(alias) != (alias,):
        raise CommandRefused(f"one alias is wanted, not {alias!r}", NOT_FOUND)
    held = [*_tags(client, arn).get(aliases.TAG, "").split(), alias]
    value = " ".join(dict.fromkeys(held))
    client.call("sagemaker", "AddTags", {"ResourceArn": arn, "Tags": [{"Key": aliases.TAG, "Value": value}]})
    if as_json:
        say_json({"arn": arn, "aliases": value.split()})
    else:
        say(f"version {package['ModelPackageVersion']} of {group} has the aliases {value}")
