"""`python -m clary.toolkit.pack SPEC`: make a job's results ready to be stored, inside a sandbox of its own.

SPEC is a JSON file: `{"packs": [{"name", "sources": [folder, ...], "target": path, "form": "tar" | "files", "empty": bool}],
"report": path}`. The sources (one per host) are merged, the first host that has a name wins; `tar` makes one gzipped tar of their
contents, `files` copies them below the folder `target`. `empty` asks for a tar even when there is nothing to pack. The report is
`{name: {"files", "bytes", "skipped": [{"path", "why"}], "names": [relative path, ...]}}`.

Regular files and folders only: a symbolic link counts as the file it leads to when that lies in the same source, and is skipped
otherwise, as are devices, sockets and FIFOs; standard output says what was skipped. Standard library only, Python 3.9.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tarfile
from typing import Any, Dict, Iterator, List, Optional, Tuple

LEVEL = 1  # models are mostly incompressible; a job should not wait for the last percent
SHOWN = 100  # skipped files that are named one by one

Found = Tuple[str, str]  # (relative path, path of the regular file)


def main(argv: List[str]) -> int:
    with open(argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    report = {job["name"]: pack(job) for job in spec["packs"]}
    with open(spec["report"], "w", encoding="utf-8") as file:
        json.dump(report, file)
    return 0


def pack(job: Dict[str, Any]) -> Dict[str, Any]:
    """Make one pack; answers its part of the report."""
    skipped: List[Dict[str, str]] = []
    files: Dict[str, str] = {}
    for source in job["sources"]:
        for name, path in find(source, skipped):
            files.setdefault(name, path)
    names = sorted(files)
    for entry in skipped[:SHOWN]:
        print("Skipped {} of {}: {}.".format(entry["path"], job["name"], entry["why"]), flush=True)
    if len(skipped) > SHOWN:
        print("Skipped {} more of {}.".format(len(skipped) - SHOWN, job["name"]), flush=True)
    size = 0
    if job["form"] == "tar":
        if names or job.get("empty"):
            size = _tar(job["target"], names, files)
    else:
        size = _copy(job["target"], names, files)
    return {
        "files": len(names),
        "bytes": size,
        "skipped": skipped[:SHOWN],
        "names": names if job["form"] != "tar" else [],
    }


def find(source: str, skipped: List[Dict[str, str]]) -> Iterator[Found]:
    """Every regular file below `source`, links resolved; what is left out is added to `skipped`."""
    root = os.path.realpath(source)
    if root != source or not os.path.isdir(root):
        if os.path.lexists(source):
            skipped.append({"path": source, "why": "the folder was replaced by something else"})
        return
    _open(root, 0o700)
    for folder, folders, names in os.walk(root, onerror=_raise):
        for name in list(folders):
            if os.path.islink(os.path.join(folder, name)):
                folders.remove(name)
                names.append(name)
            else:
                _open(os.path.join(folder, name), 0o700)
        for name in names:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, root)
            why = _obstacle(path, root)
            if why is not None:
                skipped.append({"path": relative, "why": why})
            else:
                to = os.path.realpath(path)
                _open(to, 0o400)
                yield relative, to


def _open(path: str, rights: int) -> None:
    """See that the owner may read it, whatever mode the job gave it: on AWS it is read by root."""
    mode = stat.S_IMODE(os.lstat(path).st_mode)
    if mode & rights != rights:
        os.chmod(path, mode | rights)


def _raise(error: OSError) -> None:
    raise error


def _obstacle(path: str, root: str) -> Optional[str]:
    """Why a thing in a results folder is not packed; None when it is."""
    if os.path.islink(path):
        to = os.path.realpath(path)
        if to != root and not to.startswith(root + os.sep):
            return "it is a symbolic link that leads out of the folder"
        if not os.path.isfile(to):
            return "it is a symbolic link to something that is no file"
        return None
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode):
        return "it is neither a file nor a folder"
    return None


def _tar(target: str, names: List[str], files: Dict[str, str]) -> int:
    """Write the tar; answers the bytes that went in. Owners are left out, times and the executable bit kept."""
    total = 0
    with tarfile.open(target, "w:gz", compresslevel=LEVEL, format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            with open(files[name], "rb") as file:
                found = os.fstat(file.fileno())
                entry = tarfile.TarInfo(name)
                entry.size = found.st_size
                entry.mtime = int(found.st_mtime)
                entry.mode = 0o755 if found.st_mode & 0o100 else 0o644
                archive.addfile(entry, file)
                total += found.st_size
    return total


def _copy(target: str, names: List[str], files: Dict[str, str]) -> int:
    total = 0
    for name in names:
        to = os.path.join(target, name)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copyfile(files[name], to)
        total += os.path.getsize(to)
    return total


if __name__ == "__main__":
    sys.exit(main(sys.argv))
