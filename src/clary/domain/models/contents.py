"""What is in a model's folders, as far as it decides how the model is served: where its code is, which programs, what it requires. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from clary.domain.jobs import requirements
from clary.domain.models import own_servers

CODE = "code"
INSIDE = "model/code"


def code_folder(folders: Collection[str]) -> str:
    """Where the model's code is, of the folders that there are: beside the model before inside it; '' where there is none."""
    return next((each for each in ("code", INSIDE) if each in folders), "")


def contents(folders: Collection[str], files: Collection[str], read: Callable[[str], str]) -> dict[str, Any]:
    """What is written down of a model. `folders`: those of `code` and INSIDE that there are; `files`: names in the one of them that counts;
    `read` answers a text by its path below the model's folders, '' when there is none. Invalid for requirements that cannot be read."""
    where = code_folder(folders)
    names = sorted(files)

    def beside(path: str) -> str:
        return read(f"{where}/{path}")

    return {
        "code": "code" in folders,
        "inside": INSIDE in folders,
        "scripts": [name for name in names if name.endswith(".py")],
        "programs": [name for name in own_servers.PROGRAMS if name in names],
        "requirements": requirements.whole(beside("requirements.txt"), beside) if where else "",
        "pinned": read("model/requirements.txt") if read("model/MLmodel") else "",
    }
