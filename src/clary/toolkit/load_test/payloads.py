"""Sample payloads: the files of a .tar.gz, read without unpacking it, each with its content type."""

from __future__ import annotations

import mimetypes
import os
import tarfile
from typing import List, NamedTuple, Sequence

from clary.toolkit.failure import UserError

LARGEST = 25 << 20  # bytes of a payload, as InvokeEndpoint takes them
MOST = 256 << 20  # bytes of all payloads together
_OWN = {".jsonl": "application/jsonlines", ".npy": "application/x-npy", ".recordio": "application/x-recordio-protobuf"}


class SamplePayload(NamedTuple):
    """A body to ask with."""

    name: str
    body: bytes
    content_type: str


def read(folder: str, types: Sequence[str]) -> List[SamplePayload]:
    """All payloads of the one archive in a folder. UserError for what is no archive, has no payload, or too large ones."""
    archives = [os.path.join(top, name) for top, _, names in os.walk(folder) for name in sorted(names)]
    if len(archives) != 1:
        raise UserError("SamplePayloadUrl must name one archive; there are {} files.".format(len(archives)))
    found: List[SamplePayload] = []
    total = 0
    try:
        with tarfile.open(archives[0], "r:*") as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if not member.isfile() or name.startswith("."):
                    continue
                total += member.size
                if member.size > LARGEST or total > MOST:
                    raise UserError(
                        "The sample payload {} is too large: one has at most {} MiB, all together {} MiB.".format(
                            member.name, LARGEST >> 20, MOST >> 20
                        )
                    )
                file = archive.extractfile(member)
                assert file is not None
                found.append(SamplePayload(member.name, file.read(), content_type(name, types)))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError("The archive of sample payloads cannot be read: {}".format(error)) from error
    if not found:
        raise UserError("The archive of sample payloads has no file.")
    return found


def content_type(name: str, types: Sequence[str]) -> str:
    """The only supported type; of several that of the name's ending, else the first."""
    guessed = _OWN.get(os.path.splitext(name)[1].lower()) or mimetypes.guess_type(name)[0] or ""
    if not types:
        return guessed or "application/octet-stream"
    return guessed if guessed in types else types[0]
