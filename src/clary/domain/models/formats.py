"""What an MLflow model directory asks to be installed. Pure text."""

from __future__ import annotations

import re

_OWN = re.compile(r"mlflow(-skinny|-tracing)?\s*(\[[^\]]*\])?\s*([<>=!~;,@].*)?", re.IGNORECASE)


def requirements(text: str) -> str:
    """The `requirements.txt` beside an `MLmodel`, without MLflow itself: the runtime's own reads models of older versions, and the
    whole package would bring a tracking server with it. What else is pinned there stands."""
    return "".join(line + "\n" for line in text.splitlines() if not _OWN.fullmatch(line.split(" #")[0].strip()))
