"""CloudWatch Logs: groups, streams and events. Handlers translate between AWS's members and tokens and the `Logs` port, whose
work on files happens in threads.

Semantics: CloudWatch Logs API reference. One departure: DescribeLogStreams with a prefix answers all its streams in one page,
because the `sagemaker` SDK asks for the first page again and again when there is a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from clary.api import paging, retries
from clary.api.call import Call, Params
from clary.api.errors import ApiError
from clary.api.registry import operation
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.domain.ids import arn as make_arn
from clary.domain.ids import belongs
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.logs.filters import compile_pattern
from clary.domain.logs.lines import STANDARD, LogEvent, LogGroup, LogSettings, LogStream

RETENTIONS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
MOST_EVENTS = 10_000
MOST_STREAMS = 10_000  # in one page, with a prefix
BATCH_BYTES = 1_048_576
EVENT_OVERHEAD = 26  # bytes that an event counts beside its text
DAY_MS = 86_400_000
TOO_OLD_MS = 14 * DAY_MS
TOO_NEW_MS = 2 * 3_600_000
NOTHING: Mapping[str, Any] = MappingProxyType({})
_SPARE = ("INFREQUENT_ACCESS", "ESSENTIALS")  # asked for one, both are listed
BAD_TOKEN = "The specified nextToken is invalid."
_TOKEN = re.compile(r"([fb])/(\d{1,56})/s")
_GROUP_ARN = re.compile(r"arn:aws[a-z-]*:logs:([a-z0-9-]*):(\d{12}):log-group:([^:*]+)(?::\*)?")


# -- groups ------------------------------------------------------------------------------------------------------------------------


@operation("logs", "CreateLogGroup")
async def create_log_group(call: Call, params: Params) -> Params:
    """Make a group. Key and class are recorded; a protected group is not deleted."""
    settings = LogSettings(
        params.get("kmsKeyId", ""), params.get("logGroupClass", STANDARD), bool(params.get("deletionProtectionEnabled"))
    )
    name, tags = params["logGroupName"], params.get("tags", {})
    if name.startswith("aws/"):
        raise Invalid("logGroupName must not begin with aws/: such names are reserved.")
    try:
        await asyncio.to_thread(call.ports.logs.add_group, call.scope, name, call.now, tags, settings)
    except AlreadyExists:
        group = await asyncio.to_thread(call.ports.logs.group, call.scope, name)
        if (group.settings, group.tags) != (settings, tags) or not retries.further(call, group.created / 1000):
            raise
    return {}


@operation("logs", "DeleteLogGroup")
async def delete_log_group(call: Call, params: Params) -> Params:
    await _check_deletable(call, params["logGroupName"])
    await asyncio.to_thread(call.ports.logs.drop_group, call.scope, params["logGroupName"])
    return {}


@operation("logs", "PutLogGroupDeletionProtection")
async def put_log_group_deletion_protection(call: Call, params: Params) -> Params:
    """Turn deletion protection of a group and its streams on or off."""
    protected = bool(params["deletionProtectionEnabled"])
    await _change_group(call, _group_of(call, params["logGroupIdentifier"]), settings={"protected": protected})
    return {}


@operation("logs", "AssociateKmsKey")
async def associate_kms_key(call: Call, params: Params) -> Params:
    """Record the key of a group; nothing is encrypted with it."""
    await _change_group(call, _keyed(call, params), settings={"kms_key": params["kmsKeyId"]})
    return {}


@operation("logs", "DisassociateKmsKey")
async def disassociate_kms_key(call: Call, params: Params) -> Params:
    """Forget the key of a group."""
    await _change_group(call, _keyed(call, params), settings={"kms_key": ""})
    return {}


def _keyed(call: Call, params: Params) -> str:
    """The group whose key is meant, by `logGroupName` or `resourceIdentifier`."""
    name, identifier = params.get("logGroupName"), params.get("resourceIdentifier")
    if bool(name) == bool(identifier):
        raise Invalid("Either logGroupName or resourceIdentifier must be given, and not both.")
    if identifier and ":query-result:" in identifier:
        raise Invalid("Clary stores no query results: give a log group.")
    return str(name) if name else _group_of(call, str(identifier))


async def _check_deletable(call: Call, name: str) -> None:
    group = await asyncio.to_thread(call.ports.logs.group, call.scope, name)
    if group.settings.protected:
        raise ApiError(
            "ValidationException",
            f"The log group {name} has deletion protection: PutLogGroupDeletionProtection turns it off.",
        )


@operation("logs", "DescribeLogGroups")
async def describe_log_groups(call: Call, params: Params) -> Params:
    if params.get("logGroupNamePrefix") and params.get("logGroupNamePattern"):
        raise Invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
    groups = await asyncio.to_thread(call.ports.logs.groups, call.scope, params.get("logGroupNamePrefix", ""))
    pattern = params.get("logGroupNamePattern", "").lower()
    names = {_group_of(call, identifier) for identifier in params.get("logGroupIdentifiers", ())}
    groups = [group for group in groups if pattern in group.name.lower() and (not names or group.name in names)]
    if (wanted := params.get("logGroupClass")) is not None:
        classes = _SPARE if wanted in _SPARE else (wanted,)
        groups = [group for group in groups if group.settings.log_class in classes]
    shown, more = _cut(call, params, groups, params.get("limit", 50))
    return {"logGroups": [_group_words(call, group) for group in shown], **more}


@operation("logs", "PutRetentionPolicy")
async def put_retention_policy(call: Call, params: Params) -> Params:
    days = params["retentionInDays"]
    if days not in RETENTIONS:
        allowed = ", ".join(str(value) for value in RETENTIONS)
        raise Invalid(
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{allowed}]"
        )
    await _change_group(call, params["logGroupName"], retention=days)
    return {}


@operation("logs", "DeleteRetentionPolicy")
async def delete_retention_policy(call: Call, params: Params) -> Params:
    await _change_group(call, params["logGroupName"], retention=None)
    return {}


@operation("logs", "TagResource")
async def tag_resource(call: Call, params: Params) -> Params:
    await _change_group(call, _group_of(call, params["resourceArn"]), tags=params["tags"])
    return {}


@operation("logs", "UntagResource")
async def untag_resource(call: Call, params: Params) -> Params:
    await _change_group(call, _group_of(call, params["resourceArn"]), untag=params["tagKeys"])
    return {}


@operation("logs", "ListTagsForResource")
async def list_tags_for_resource(call: Call, params: Params) -> Params:
    group = await asyncio.to_thread(call.ports.logs.group, call.scope, _group_of(call, params["resourceArn"]))
    return {"tags": dict(group.tags)}


@operation("logs", "TagLogGroup")
async def tag_log_group(call: Call, params: Params) -> Params:
    await _change_group(call, params["logGroupName"], tags=params["tags"])
    return {}


@operation("logs", "UntagLogGroup")
async def untag_log_group(call: Call, params: Params) -> Params:
    await _change_group(call, params["logGroupName"], untag=params["tags"])
    return {}


@operation("logs", "ListTagsLogGroup")
async def list_tags_log_group(call: Call, params: Params) -> Params:
    group = await asyncio.to_thread(call.ports.logs.group, call.scope, params["logGroupName"])
    return {"tags": dict(group.tags)}


# -- streams -----------------------------------------------------------------------------------------------------------------------


@operation("logs", "CreateLogStream")
async def create_log_stream(call: Call, params: Params) -> Params:
    group, name = params["logGroupName"], params["logStreamName"]
    try:
        await asyncio.to_thread(call.ports.logs.add_stream, call.scope, group, name, call.now)
    except AlreadyExists:
        found = await asyncio.to_thread(call.ports.logs.streams, call.scope, group, name)
        if not any(each.name == name and retries.further(call, each.created / 1000) for each in found):
            raise
    return {}


@operation("logs", "DeleteLogStream")
async def delete_log_stream(call: Call, params: Params) -> Params:
    await _check_deletable(call, params["logGroupName"])
    await asyncio.to_thread(call.ports.logs.drop_stream, call.scope, params["logGroupName"], params["logStreamName"])
    return {}


@operation("logs", "DescribeLogStreams")
async def describe_log_streams(call: Call, params: Params) -> Params:
    group, prefix = _group(call, params), params.get("logStreamNamePrefix", "")
    by_time = params.get("orderBy", "LogStreamName") == "LastEventTime"
    if by_time and prefix:
        raise Invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
    streams = await asyncio.to_thread(call.ports.logs.streams, call.scope, group, prefix)
    _note_reader(call, group, prefix)
    descending = bool(params.get("descending"))
    streams.sort(key=lambda stream: (stream.last or 0 if by_time else 0, stream.name), reverse=descending)
    limit = MOST_STREAMS if prefix else params.get("limit", 50)
    shown, more = _cut(call, params, streams, limit)
    return {"logStreams": [_stream_words(call, group, stream) for stream in shown], **more}


# -- events ------------------------------------------------------------------------------------------------------------------------


@operation("logs", "PutLogEvents")
async def put_log_events(call: Call, params: Params) -> Params:
    """Store a batch. rejectedLogEventsInfo lists events that are too old, expired or too new, as on AWS."""
    events = [(event["timestamp"], event["message"]) for event in params["logEvents"]]
    _check_batch(events)
    names = call.scope, params["logGroupName"], params["logStreamName"]
    group = await asyncio.to_thread(call.ports.logs.group, *names[:2])
    now = int(call.now * 1000)
    expired = now - group.retention * DAY_MS if group.retention else 0
    ended = sum(1 for ms, _ in events if ms < expired)
    old = sum(1 for ms, _ in events if ms < max(now - TOO_OLD_MS, expired))
    new = sum(1 for ms, _ in events if ms > now + TOO_NEW_MS)
    kept = events[old : len(events) - new]
    refused = await asyncio.to_thread(call.ports.logs.append, *names, kept)
    rejected: Params = {}
    if ended:
        rejected["expiredLogEventEndIndex"] = ended
    if old + refused > ended:
        rejected["tooOldLogEventEndIndex"] = old + refused
    if new:
        rejected["tooNewLogEventStartIndex"] = len(events) - new
    # AWS ignores sequence tokens since 2023, and still answers one.
    answer: Params = {"nextSequenceToken": f"{now:056d}"}
    return answer | ({"rejectedLogEventsInfo": rejected} if rejected else {})


@operation("logs", "GetLogEvents")
async def get_log_events(call: Call, params: Params) -> Params:
    """A page of one stream, oldest event first. At either end the token is the one that was passed in."""
    group, token = _group(call, params), params.get("nextToken")
    position, backward = None, not params.get("startFromHead", False)
    if token:
        found = _TOKEN.fullmatch(token)
        if found is None:
            raise Invalid(BAD_TOKEN)
        position, backward = int(found.group(2)), found.group(1) == "b"

    def ask() -> Any:
        return call.ports.logs.page(
            call.scope,
            group,
            params["logStreamName"],
            limit=params.get("limit", MOST_EVENTS),
            position=position,
            backward=backward,
            start=params.get("startTime", 0),
            end=params.get("endTime"),
        )

    page = await asyncio.to_thread(ask)
    _note_reader(call, group, params["logStreamName"])
    return {
        "events": [_event_words(event) for event in page.events],
        "nextForwardToken": f"f/{page.end:056d}/s",
        "nextBackwardToken": f"b/{page.start:056d}/s",
    }


def _note_reader(call: Call, group: str, stream: str) -> None:
    """A client that follows a job and reads its log does not want its Describes held for long (`holding.followed`)."""
    job, slash, _ = stream.partition("/")
    kind = next((row.name for row in JOB_KINDS.values() if row.log_group == group), None)
    if kind is not None and slash:
        call.ports.followers.reads(call.principal, call.arn(kind, job), call.now)


@operation("logs", "FilterLogEvents")
async def filter_log_events(call: Call, params: Params) -> Params:
    """Events of a group that match a pattern, merged by time."""
    group = _group(call, params)
    named, prefix = params.get("logStreamNames"), params.get("logStreamNamePrefix", "")
    if named and prefix:
        raise Invalid("Either logStreamNames or logStreamNamePrefix may be given, not both.")
    if not params.get("startFromHead", True):
        raise Invalid("startFromHead=false is not available here: events come oldest first.")
    matches = compile_pattern(params.get("filterPattern", ""))
    resumed = _resumed(call, params)
    after = None
    if resumed is not None:
        place, stream = str(resumed[1]).split(":", 1)
        after = int(resumed[0]), stream, int(place)

    def ask() -> Any:
        known = [stream.name for stream in call.ports.logs.streams(call.scope, group, prefix)]
        if named and not set(named) <= set(known):
            raise NotFound("The specified log stream does not exist.")
        return call.ports.logs.search(
            call.scope,
            group,
            named or known,
            matches=matches,
            limit=params.get("limit", MOST_EVENTS),
            after=after,
            start=params.get("startTime", 0),
            end=params["endTime"] + 1 if "endTime" in params else None,
        )

    found = await asyncio.to_thread(ask)
    events = [
        {"logStreamName": stream, **_event_words(event), "eventId": _event_id(stream, event)}
        for stream, event in found.events
    ]
    answer: Params = {"events": events, "searchedLogStreams": []}
    if found.after is not None:
        ms, stream, place = found.after
        answer["nextToken"] = paging.token(call, _listed(params), (float(ms), f"{place}:{stream}"))
    return answer


# -- words -------------------------------------------------------------------------------------------------------------------------


def _group(call: Call, params: Params) -> str:
    """The group's name, from `logGroupName` or `logGroupIdentifier` (a name or an ARN)."""
    name, identifier = params.get("logGroupName"), params.get("logGroupIdentifier")
    if name and identifier:
        raise ApiError("ValidationException", "Either logGroupName or logGroupIdentifier must be given, and not both.")
    if not name and not identifier:
        raise Invalid("One of logGroupName and logGroupIdentifier must be given.")
    return str(name) if name else _group_of(call, str(identifier))


def _group_of(call: Call, identifier: str) -> str:
    if not identifier.startswith("arn:"):
        return identifier
    found = _GROUP_ARN.fullmatch(identifier)
    if found is None:
        raise Invalid("The ARN is not one of a log group.")
    region, account, name = found.groups()
    if (account, region) != (call.scope.account, call.scope.region) or not belongs(identifier, region):
        raise NotFound("The specified log group does not exist.")
    return name


async def _change_group(
    call: Call,
    name: str,
    *,
    retention: int | str | None = "kept",
    tags: Any = None,
    untag: Sequence[str] = (),
    settings: Mapping[str, Any] = NOTHING,
) -> None:
    def change() -> None:
        group = call.ports.logs.group(call.scope, name)
        kept = {key: value for key, value in {**group.tags, **(tags or {})}.items() if key not in untag}
        days = group.retention if isinstance(retention, str) else retention
        call.ports.logs.set_group(call.scope, name, days, kept, replace(group.settings, **settings))

    await asyncio.to_thread(change)


def _arn(call: Call, tail: str) -> str:
    return make_arn("logs", call.scope.region, call.scope.account, f"log-group:{tail}")


def _group_words(call: Call, group: LogGroup) -> Params:
    words: Params = {
        "logGroupName": group.name,
        "creationTime": group.created,
        "metricFilterCount": 0,
        "arn": _arn(call, f"{group.name}:*"),
        "logGroupArn": _arn(call, group.name),
        "storedBytes": group.stored,
        "logGroupClass": group.settings.log_class,
        "deletionProtectionEnabled": group.settings.protected,
    }
    if group.settings.kms_key:
        words["kmsKeyId"] = group.settings.kms_key
    return words if group.retention is None else {**words, "retentionInDays": group.retention}


def _stream_words(call: Call, group: str, stream: LogStream) -> Params:
    words: Params = {
        "logStreamName": stream.name,
        "creationTime": stream.created,
        "arn": _arn(call, f"{group}:log-stream:{stream.name}"),
        "storedBytes": stream.stored,
    }
    if stream.last is None:
        return words
    times = {
        "firstEventTimestamp": stream.first,
        "lastEventTimestamp": stream.last,
        "lastIngestionTime": stream.ingested,
    }
    return {**words, **times, "uploadSequenceToken": f"{stream.last:056d}"}


def _event_words(event: LogEvent) -> Params:
    return {"timestamp": event.timestamp, "message": event.message, "ingestionTime": event.ingestion}


def _event_id(stream: str, event: LogEvent) -> str:
    """56 digits that are the event's for ever and sort as events do: `aws logs tail --follow` knows by them what it has shown."""
    salt = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "big") % 10**20
    return f"{event.timestamp:016d}{event.position:020d}{salt:020d}"


def _check_batch(events: Sequence[tuple[int, str]]) -> None:
    size = sum(len(message.encode()) + EVENT_OVERHEAD for _, message in events)
    if size > BATCH_BYTES:
        raise Invalid(f"Upload too large: {size} bytes exceeds limit of {BATCH_BYTES}")
    if any(later[0] < earlier[0] for earlier, later in itertools.pairwise(events)):
        raise Invalid("Log events in a single PutLogEvents request must be in chronological order.")
    if events[-1][0] - events[0][0] > DAY_MS:
        raise Invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")


def _listed(params: Params) -> Params:
    """As `api.paging` names it: tokens are bound to every parameter but these."""
    bound = {key: value for key, value in params.items() if key not in ("nextToken", "limit")}
    return {**bound, "NextToken": params.get("nextToken")}


def _resumed(call: Call, params: Params) -> paging.After | None:
    try:
        return paging.resume(call, _listed(params))
    except Invalid:
        raise Invalid(BAD_TOKEN) from None


def _cut(call: Call, params: Params, items: Sequence[Any], limit: int) -> tuple[Sequence[Any], Params]:
    """One page of a listed whole, from where the token says."""
    resumed = _resumed(call, params)
    first = int(resumed[0]) if resumed else 0
    shown = items[first : first + limit]
    if first + limit >= len(items):
        return shown, {}
    return shown, {"nextToken": paging.token(call, _listed(params), (float(first + limit), ""))}
