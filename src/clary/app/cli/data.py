"""`clary data fetch`: content from a URL into S3, under its hash and with where it came from, by a job of the image `clary-fetch`."""

from __future__ import annotations

from typing import Any

from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.output import USAGE, CommandRefused, say, say_json
from clary.app.cli.own_jobs import OwnJob
from clary.app.cli.site import here
from clary.domain.errors import Invalid
from clary.domain.s3 import parse_uri

IMAGE = "clary-fetch"
GIB = 1 << 30


def fetch(directory: str | None, url: str, target: str, limit: int, *, as_json: bool) -> None:
    """`limit` in bytes."""
    try:
        parse_uri(target)
    except Invalid as error:
        raise CommandRefused(str(error), USAGE) from None
    if limit < 1:
        raise CommandRefused("--limit takes the most bytes that may be fetched, 1 or more", USAGE)
    site = here(directory)
    job = OwnJob(site, "fetch")
    top = target.rstrip("/")
    outputs = {"data": f"{top}/data", "provenance": f"{top}/provenance"}
    described = job.run(IMAGE, {"url": url, "limit": limit}, outputs, volume=2 + 2 * -(-limit // GIB))
    told = job.newest(outputs["provenance"], described["ProcessingStartTime"], url)
    uri = f"{top}/data/{told['sha256']}/{told['name']}"
    artifact = _traced(site.client(), url, uri, told, described["ProcessingJobArn"])
    if as_json:
        say_json({**told, "uri": uri, "artifact": artifact, "job": job.name})
    else:
        say(f"{told['bytes']:,} bytes in {uri}")
        say(f"lineage: {artifact}")


def _traced(client: Client, url: str, uri: str, told: dict[str, Any], job: str) -> str:
    """URL -> job -> object, in lineage; the object's ARN there."""
    found = client.call("sagemaker", "ListTrialComponents", {"SourceArn": job})["TrialComponentSummaries"]
    source = _artifact(client, url, "Url", {})
    properties = {name: str(told[name])[:4000] for name in ("url", "final_url", "fetched", "sha256", "bytes")}
    content = _artifact(client, uri, "DataSet", properties)
    for component in found[:1]:
        for start, end, kind in (
            (source, component["TrialComponentArn"], "ContributedTo"),
            (component["TrialComponentArn"], content, "Produced"),
        ):
            asked = {"SourceArn": start, "DestinationArn": end, "AssociationType": kind}
            client.call("sagemaker", "AddAssociation", asked)
    return content


def _artifact(client: Client, uri: str, kind: str, properties: dict[str, str]) -> str:
    """The entity of a URI, made where there is none."""
    found = client.call("sagemaker", "ListArtifacts", {"SourceUri": uri})["ArtifactSummaries"]
    if found:
        return str(found[0]["ArtifactArn"])
    asked = {"Source": {"SourceUri": uri}, "ArtifactType": kind, "Properties": properties}
    try:
        return str(client.call("sagemaker", "CreateArtifact", asked)["ArtifactArn"])
    except ApiFailure as error:
        raise CommandRefused(f"{uri} is stored, and lineage does not know it: {error}") from error
