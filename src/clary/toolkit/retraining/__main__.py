"""`python -m clary.toolkit.retraining collect|gate [--NAME VALUE ...]`: the program of the image `clary-retrain`.

What was asked wrongly, or cannot be done with these data, ends with exit code 1 and its sentence as the job's message.
"""

from __future__ import annotations

import os
import sys
from typing import Dict, Sequence

from clary.toolkit.documents import DocumentError
from clary.toolkit.failure import UserError, exit_message, log

ML = "/opt/ml"


def main(argv: Sequence[str], base: str = ML) -> int:
    try:
        words = run(argv, base)
    except (UserError, DocumentError) as error:
        print(error, file=sys.stderr, flush=True)
        exit_message(str(error), base)
        return 1
    log(words)
    exit_message(words, base)
    return 0


def run(argv: Sequence[str], base: str) -> str:
    """What came out, as a sentence."""
    program, given = (argv[0] if argv else ""), arguments(argv[1:])
    if program == "collect":
        from clary.toolkit.retraining import collecting

        return collecting.run(collecting.Collection.read(given), os.path.join(base, "processing"))
    if program == "gate":
        from clary.toolkit.retraining import gating

        return gating.run(gating.RetrainingGate.read(given), base)
    raise UserError("The first argument is collect or gate, not {!r}.".format(program))


def arguments(words: Sequence[str]) -> Dict[str, str]:
    """`--window 5000 --since ""` as a mapping; what is empty is not given."""
    if len(words) % 2 or any(not each.startswith("--") for each in words[::2]):
        raise UserError("Arguments are pairs, --NAME VALUE, not {}.".format(" ".join(words)))
    pairs = zip(words[::2], words[1::2])
    return {name[2:].replace("-", "_"): value for name, value in pairs if value.strip()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
