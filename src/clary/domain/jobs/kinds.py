"""Kinds of jobs, a row each: how a request becomes a `JobSpec`, the words of its life, what its container finds.

A further kind is a module with a `parse`, a row here, a row in `KINDS` of `domain/resources.py`, and its handlers. Everything else (life,
work, places, ledger, usage) is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.jobs import failures, processing, training
from clary.domain.jobs.hosts import Host
from clary.domain.jobs.spec import JobSpec
from clary.domain.resources import Record
from clary.domain.stored import loaded


@dataclass(frozen=True, slots=True)
class JobKind:
    """A row. `name` is the kind of its records, `noun` how messages call it, `doing` its secondary status while its container runs,
    `storing` what is said while results are stored, `log_group` where its logs are looked for.

    `program` is the module of the toolkit that runs where no command is named ("": there is none). `config` is the folder of the
    contract files, and `contract` tells their texts by name for one host; `variables` are those that AWS sets beside the user's. `told`
    is the file below /opt/ml in which the container says how it went: of a host that failed `failed` makes FailureReason of (exit code,
    that text, last lines of the log), and with `exit_message` the text is shown however the job ended. `dimension` names the job in its
    own metrics. `lists`: beside a channel that is sharded, or named by a manifest, lies a list of its files. `bare`: what runs where no
    command is named is the image's own, not the kind's."""

    name: str
    noun: str
    doing: str
    storing: str
    log_group: str
    parse: Callable[[Mapping[str, Any]], JobSpec]
    config: str
    contract: Callable[[Record, JobSpec, Host], Mapping[str, str]]
    told: str
    failed: Callable[[int, str, Sequence[str]], str]
    variables: Callable[[Record], Mapping[str, str]]
    program: str = ""
    dimension: str = ""
    exit_message: bool = False
    lists: bool = False
    bare: bool = False

    @property
    def running(self) -> str:
        """What is said while the container runs."""
        return f"{self.doing} image download completed. {self.doing} in progress."


_TRAINING = JobKind(
    name=training.KIND,
    noun="training job",
    doing="Training",
    storing="Uploading generated training model",
    log_group=training.LOG_GROUP,
    parse=training.parse,
    config="/opt/ml/input/config",
    contract=training.contract_files,
    told="output/failure",
    failed=failures.algorithm_error,
    variables=training.variables,
    program="clary.toolkit.train",
    dimension="TrainingJobName",
    lists=True,
)

_PROCESSING = JobKind(
    name=processing.KIND,
    noun="processing job",
    doing="Processing",
    storing="Uploading the outputs",
    log_group=processing.LOG_GROUP,
    parse=processing.parse,
    config="/opt/ml/config",
    contract=processing.contract_files,
    told="output/message",
    failed=failures.processing_error,
    variables=processing.variables,
    bare=True,
    exit_message=True,
)

JOB_KINDS: Mapping[str, JobKind] = {row.name: row for row in (_TRAINING, _PROCESSING)}


def kind_of(record: Record) -> JobKind:
    """The row of a job's record."""
    return JOB_KINDS[record.kind]


_SPECS = 1000  # jobs whose specs are kept
_loaded: dict[str, tuple[Mapping[str, Any], JobSpec]] = {}  # ARN -> what was stored, and what was made of it


def spec_of(record: Record) -> JobSpec:
    """The job as it was parsed when it was created; of a record from before there were specs, as it is parsed now.

    A turn asks for it a dozen times. It is made again only where something else is stored; to compare costs a hundredth of that."""
    stored = record.document.get("spec")
    if stored is None:
        return kind_of(record).parse(record.document["request"])
    kept = _loaded.get(record.arn)
    if kept is not None and (kept[0] is stored or kept[0] == stored):
        return kept[1]
    spec = loaded(JobSpec, stored)
    if len(_loaded) >= _SPECS:
        _loaded.clear()
    _loaded[record.arn] = stored, spec
    return spec
