"""Git repositories that notebooks name. Plain records: Clary clones nothing; a training job's code comes from S3."""

from __future__ import annotations

from clary.api.plain.noun import Noun
from clary.api.plain.operations import register

register(
    Noun(
        kind="code-repository",
        name="CodeRepository",
        plural="CodeRepositories",
        key=("CodeRepositoryName",),
        status=("", ""),
        missing="Cannot find CodeRepository {name}",
    )
)
