"""`python -m clary.toolkit.privacy`: the program of the image `clary-privacy`, which `clary privacy` runs as a processing job.

Reads /opt/ml/processing/input/spec/spec.json: `{"act": "find" | "erase" | "scan", "column", "value", "names": [...], "data": [S3 URIs],
"endpoints": [...], "groups": [...], "audit": S3 URI or "", "asked_by": access key}`. The value stands in this file only: who asks removes
it, and no argument, log or report repeats it. Writes /opt/ml/processing/output/report.json, and for find and erase an audit record.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
from datetime import datetime, timezone
from typing import Any, Dict, List, Mapping

from clary.toolkit.failure import UserError, exit_message, log
from clary.toolkit.privacy import work
from clary.toolkit.privacy.places import VersionedObjects
from clary.toolkit.privacy.where import PersonCondition

ML = "/opt/ml"


def main(base: str = ML) -> int:
    signal.signal(signal.SIGTERM, _stopped)
    try:
        with open(os.path.join(base, "processing", "input", "spec", "spec.json"), encoding="utf-8") as file:
            spec = json.load(file)
        document = run(spec, _client, _job(base))
    except UserError as error:
        print(error, file=sys.stderr, flush=True)
        exit_message(str(error), base)
        return 1
    _write(os.path.join(base, "processing", "output", "report.json"), json.dumps(document, indent=1))
    log(words(document))
    return 0


def run(spec: Mapping[str, Any], client: Any, job: Mapping[str, Any]) -> Dict[str, Any]:
    """The report; erasures and searches are on record before they change or show anything."""
    places = VersionedObjects(client("s3"))
    data = [*spec["data"], *(_captures(client, name) for name in spec["endpoints"])]
    with tempfile.TemporaryDirectory() as scratch:
        if spec["act"] == "scan":
            return {"act": "scan", **work.scan(places, data, spec["names"], scratch)}
        where = PersonCondition(spec["column"], spec["value"], tuple(spec["names"]))
        record: Dict[str, Any] = {
            "act": spec["act"],
            "state": "begun",
            "column": where.column,
            "value_sha256": hashlib.sha256(where.value.encode()).hexdigest(),
            "data": data,
            "groups": list(spec["groups"]),
            "asked_by": spec["asked_by"],
            "job": job.get("ProcessingJobArn", ""),
            "role": job.get("RoleArn", ""),
            "begun": _now(),
        }
        _audit(places, spec, record)
        doing = work.PrivacyWork(where, places, client, scratch)
        told = (doing.erase if spec["act"] == "erase" else doing.find)(data, spec["groups"])
        record.update(state="done", **told.document())
        if spec["act"] == "erase":
            proof = doing.find(data, spec["groups"])
            record["proof"] = {"at": _now(), "proven": proof.clean, **proof.document()}
        record["ended"] = _now()
        _audit(places, spec, record)
    return record


def words(document: Mapping[str, Any]) -> str:
    if document["act"] == "scan":
        return "{} columns look like personal data".format(sum(len(each["columns"]) for each in document["sets"]))
    told = "{} rows in {} objects".format(document["matched"], len(document["found"]))
    if document["act"] == "find":
        return "found " + told
    return "erased {}; {}".format(told, "proven" if document["proof"]["proven"] else "not proven")


def _captures(client: Any, endpoint: str) -> str:
    """Where an endpoint's captured data are."""
    from botocore.exceptions import ClientError

    try:
        config = client("sagemaker").describe_endpoint(EndpointName=endpoint).get("DataCaptureConfig") or {}
    except ClientError as error:
        raise UserError("The endpoint {}: {}".format(endpoint, error.response["Error"]["Message"])) from error
    if not config.get("DestinationS3Uri"):
        raise UserError("The endpoint {} captures no data: name the S3 prefix as data instead.".format(endpoint))
    return "{}/{}/".format(str(config["DestinationS3Uri"]).rstrip("/"), endpoint)


def _audit(places: VersionedObjects, spec: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    if spec["audit"]:
        places.write(spec["audit"], json.dumps(record, indent=1).encode())


def _job(base: str) -> Dict[str, Any]:
    path = os.path.join(base, "config", "processingjobconfig.json")
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return dict(json.load(file))


def _client(service: str) -> Any:
    import boto3

    return boto3.client(service)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _stopped(*_: Any) -> None:
    raise SystemExit(143)


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


__all__: List[str] = ["main", "run"]

if __name__ == "__main__":
    sys.exit(main())
