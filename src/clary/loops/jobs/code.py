"""The user's code of a job (sourcedir.tar.gz): opened once by the backend's node for all jobs that bring the same archive, the children of
a tuning job above all. Jobs have it under an overlay, so what one writes beside its files no other one sees.

Owns the name that the content gets. Every step can be done again from its beginning.
"""

from __future__ import annotations

import hashlib

from clary.domain.machine.workload import ModelFiles
from clary.domain.s3 import Location
from clary.ports import Artifacts

NAME = "code"  # of the folder of what was opened
SECONDS = 6 * 3600.0  # in which an archive must have been opened


async def code_files(artifacts: Artifacts, account: str, source: Location) -> ModelFiles:
    """Which object, by its content as it is now. NotFound, Denied from the store."""
    found = await artifacts.head(source.bucket, source.key)
    mark = f"code of a job\n{account}\n{source}\n{found.etag}\n{found.size}"
    digest = hashlib.sha256(mark.encode()).hexdigest()[:32]
    return ModelFiles(digest, account, archives={NAME: source})
