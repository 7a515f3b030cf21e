"""`clary label`: says what was right, by inference or event id. Writes ground truth files into S3 as AWS's merge reads them."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clary.app.cli.output import USAGE, CommandRefused, counted, say, say_json
from clary.app.cli.site import Site, endpoint_name, here
from clary.domain.errors import Invalid
from clary.domain.monitoring import labels
from clary.domain.s3 import Location, parse_uri


def label(directory: str | None, endpoint: str, source: str, to: str, hour: str, *, as_json: bool) -> None:
    site, name = here(directory), endpoint_name(endpoint)
    try:
        given = labels.read(sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8"))
        at = datetime.fromisoformat(hour).replace(tzinfo=UTC).timestamp() if hour else time.time()
        folder = parse_uri(to) if to else _folder(site, name)
    except Invalid as error:
        raise CommandRefused(error.message, USAGE) from None
    except UnicodeDecodeError:
        raise CommandRefused(f"{source} is not UTF-8", USAGE) from None
    except ValueError:
        raise CommandRefused(f"--hour is a time in UTC, such as 2026-12-31T09, not {hour!r}", USAGE) from None
    content = labels.lines(given)
    where = labels.place(folder, at, content)
    _put(site, where, content)
    if as_json:
        say_json({"labels": len(given), "file": str(where), "folder": str(folder)})
    else:
        say(f"{counted(len(given), 'label')} in {where}")


def _folder(site: Site, name: str) -> Location:
    """Beside what the endpoint captures."""
    found = site.client().call("sagemaker", "DescribeEndpoint", {"EndpointName": name}).get("DataCaptureConfig")
    if not found:
        raise CommandRefused(f"endpoint {name!r} captures nothing: --to s3://BUCKET/PREFIX says where labels go", USAGE)
    return parse_uri(found["DestinationS3Uri"]).below("ground-truth", name)


def _put(site: Site, where: Location, content: str) -> None:
    import boto3
    from botocore.exceptions import ClientError

    credential, settings = site.credential(), site.settings
    session = boto3.Session(credential.access_key_id, credential.secret, region_name=settings.region)
    s3: Any = session.client("s3", endpoint_url=settings.endpoint, verify=settings.tls_cert or None)
    try:
        s3.put_object(Bucket=where.bucket, Key=where.key, Body=content.encode(), ContentType="application/jsonlines")
    except ClientError as error:
        raise CommandRefused(f"{where} cannot be written: {error.response['Error'].get('Message', error)}") from None
