"""`python -m clary.toolkit.prepare SPEC`: unpack archives inside the sandbox, before anything of theirs runs.

SPEC is a JSON file: one job or a list of `{"archive": path, "target": path, "limits": {"bytes", "entries", "ratio"},
"error": path, "name": how to call it to the user}`. Exit code 0: every target is there, whole. Exit code 3: an archive was
refused; `error` (default: `prepare-error` beside the target) holds one line for the user, ready to be a FailureReason.
Owns no policy: what is unpacked where, and what happens then, is the planner's.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, List

from clary.toolkit.archive import ArchiveError, ArchiveLimits, extract

REFUSED = 3


def main(argv: List[str]) -> int:
    with open(argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    for job in spec if isinstance(spec, list) else [spec]:
        code = prepare(job)
        if code:
            return code
    return 0


def prepare(job: Dict[str, Any]) -> int:
    """Run one job; answers the exit code."""
    archive, target = job["archive"], job["target"]
    name = job.get("name") or os.path.basename(archive)
    try:
        files, size = extract(archive, target, ArchiveLimits.from_json(job.get("limits")))
    except ArchiveError as error:
        reason = "ClientError: Cannot extract {}: {}.".format(name, error)
    except OSError as error:
        reason = "ClientError: Cannot extract {}: {}.".format(name, error.strerror or error)
    else:
        print("Extracted {}: {} files, {} bytes.".format(name, files, size), flush=True)
        return 0
    path = job.get("error") or os.path.join(os.path.dirname(target.rstrip("/")), "prepare-error")
    with open(path, "w", encoding="utf-8") as file:
        file.write(reason[:1024])
    print(reason, file=sys.stderr, flush=True)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv))
