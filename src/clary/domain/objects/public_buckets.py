"""AWS's own public buckets, which sample notebooks read: known by name, so that their absence can be explained.

Owns the names and the words. Does not know whether a bucket is there: one of the same name may well have been made here.
"""

from __future__ import annotations

import re

_PUBLIC = re.compile(
    r"sagemaker-sample-files|sagemaker-sample-data-[a-z0-9-]+|sagemaker-example-files-prod-[a-z0-9-]+|sagemaker-(servicecatalog|solutions)-.+"
    r"|jumpstart-cache-[a-z0-9-]+|jumpstart-private-cache-[a-z0-9-]+|aws-ml-blog(-.+)?|aws-sagemaker-.+-samples|sagemaker-remote-function-.+"
    r"|amazon-reviews-(ml|pds)|aws-public-datasets|fast-ai-[a-z]+|noaa-[a-z0-9-]+|sagemaker-workshop-.+|dlami-.+|deep-learning-.+-aws"
)


def advice(bucket: str) -> str:
    """Why a bucket that is not here is not, and what to do; '' when it is none of AWS's public ones."""
    if not _PUBLIC.fullmatch(bucket):
        return ""
    return (
        f"{bucket} is one of AWS's public buckets, which live in the AWS cloud and cannot be reached through Clary: fetch the files "
        f"where there is internet access (aws s3 cp --no-sign-request --endpoint-url https://s3.amazonaws.com s3://{bucket}/... .) "
        "and upload them to a bucket of your own."
    )


def missing(bucket: str) -> str:
    """The same as a sentence to add to AWS's text of an operation other than S3's, with a space before it; '' likewise."""
    words = advice(bucket)
    return f" NoSuchBucket: The specified bucket does not exist. {words}" if words else ""
