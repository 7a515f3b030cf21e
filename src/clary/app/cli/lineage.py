"""`clary lineage RESOURCE`: what led to a resource, or came of it, as a tree or a picture; data with the ETags of its objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.app.cli.client import Client
from clary.app.cli.kinds import Kind, first
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused, counted, say, say_json
from clary.app.cli.site import here
from clary.domain.drawing import Arrow, Box, Graph, draw

_MOST = 500  # vertices that are shown
_KINDS = (  # of what a bare name may be, in this order
    Kind("endpoint", "Endpoint", "EndpointName"),
    Kind("training-job", "TrainingJob", "TrainingJobName"),
    Kind("processing-job", "ProcessingJob", "ProcessingJobName"),
    Kind("transform-job", "TransformJob", "TransformJobName"),
    Kind("model", "Model", "ModelName"),
    Kind("experiment-trial-component", "TrialComponent", "TrialComponentName"),
    Kind("context", "Context", "ContextName"),
    Kind("action", "Action", "ActionName"),
)
_DESCRIBES = {
    "artifact": ("DescribeArtifact", "ArtifactArn"),
    "action": ("DescribeAction", "ActionName"),
    "context": ("DescribeContext", "ContextName"),
    "experiment-trial-component": ("DescribeTrialComponent", "TrialComponentName"),
}
_WIDE, _ACROSS, _DOWN = 250.0, 320.0, 90.0  # pixels: a box, from level to level, from box to box
_LONGEST = 34  # characters in a box
_WORD = 22  # of a type, which stands there in bold letters


def lineage(directory: str | None, resource: str, *, down: bool, out: str, as_json: bool) -> None:
    """Print or draw it."""
    if out and not out.endswith(".svg"):
        raise CommandRefused(f"--out takes the name of an .svg file, not {out!r}", USAGE)
    client = here(directory).client()
    arn = _arn(client, resource)
    found = walked(client, arn, "Descendants" if down else "Ascendants")
    if as_json:
        say_json({"resource": arn, **found})
        return
    if out:
        with open(out, "w", encoding="utf-8") as file:
            file.write(picture(resource, found, down))
        say(f"wrote {out}")
        return
    for line in tree(found, down):
        say(line)


def _arn(client: Client, resource: str) -> str:
    """The ARN that is meant by an ARN or a name. CommandRefused when nothing has the name."""
    if resource.startswith("arn:"):
        return resource
    found = first(client, _KINDS, resource)
    if found is not None:
        kind, seen = found
        return str(seen[kind.arn])
    raise CommandRefused(f"No endpoint, job, model or lineage entity is named {resource}. Give its ARN.", NOT_FOUND)


def _about(client: Client, arn: str) -> list[str]:
    """The entities that are meant: the ARN's own, or those whose source is the resource. CommandRefused when there is none."""
    if arn.rpartition(":")[2].partition("/")[0] in _DESCRIBES:
        return [arn]
    components = client.pages("sagemaker", "ListTrialComponents", "TrialComponentSummaries", {"SourceArn": arn})
    found = [each["TrialComponentArn"] for each in components]
    for noun in ("Context", "Action", "Artifact"):
        entities = client.pages("sagemaker", f"List{noun}s", f"{noun}Summaries", {"SourceUri": arn})
        found += [each[f"{noun}Arn"] for each in entities]
    if not found:
        raise CommandRefused(f"Nothing is recorded of the lineage of {arn} yet.", NOT_FOUND)
    return found


def walked(client: Client, arn: str, direction: str) -> dict[str, Any]:
    """`entities` (ARN -> what is told of it) and `edges` of the walk, those where it began included."""
    asked: dict[str, Any] = {"StartArns": _about(client, arn), "Direction": direction}
    vertices: dict[str, str] = {}
    edges: dict[tuple[str, str], str] = {}
    while True:
        page = client.call("sagemaker", "QueryLineage", asked)
        vertices |= {each["Arn"]: each["Type"] for each in page["Vertices"]}
        edges |= {(e["SourceArn"], e["DestinationArn"]): e.get("AssociationType", "") for e in page["Edges"]}
        if "NextToken" not in page or len(vertices) >= _MOST:
            break
        asked["NextToken"] = page["NextToken"]
    arns = dict.fromkeys([*(end for edge in edges for end in edge), *vertices])
    entities = {each: _told(client, each, vertices.get(each, "")) for each in arns}
    shown = [{"source": a, "destination": b, "type": type_} for (a, b), type_ in edges.items()]
    return {"entities": entities, "edges": shown}


def _told(client: Client, arn: str, type_: str) -> dict[str, Any]:
    kind, _, name = arn.rpartition(":")[2].partition("/")
    operation, member = _DESCRIBES[kind]
    shown = client.call("sagemaker", operation, {member: arn})
    noun = operation.removeprefix("Describe")
    source = shown.get("Source") or {}
    properties: Mapping[str, str] = shown.get("Properties") or {}
    return {
        "type": type_ or shown.get(f"{noun}Type") or noun,
        "name": shown.get(f"{noun}Name") or source.get("SourceUri") or name,
        "source": source.get("SourceUri") or source.get("SourceArn") or "",
        "objects": {key[3:]: etag for key, etag in properties.items() if key.startswith("s3:")},
    }


def levels(found: Mapping[str, Any], down: bool) -> dict[str, int]:
    """How far each entity is from where the walk began: the longest way, so that all arrows point the same way."""
    following: dict[str, list[str]] = {arn: [] for arn in found["entities"]}
    before: dict[str, int] = dict.fromkeys(found["entities"], 0)
    for edge in found["edges"]:
        near, far = (edge["source"], edge["destination"]) if down else (edge["destination"], edge["source"])
        following[near].append(far)
        before[far] += 1
    level = dict.fromkeys(found["entities"], 0)
    ready = [arn for arn, count in before.items() if not count]
    while ready:
        arn = ready.pop()
        for far in following[arn]:
            level[far] = max(level[far], level[arn] + 1)
            before[far] -= 1
            if not before[far]:
                ready.append(far)
    return level


def tree(found: Mapping[str, Any], down: bool) -> list[str]:
    """An indented line for each entity, each once in full."""
    following: dict[str, list[str]] = {arn: [] for arn in found["entities"]}
    for edge in found["edges"]:
        near, far = (edge["source"], edge["destination"]) if down else (edge["destination"], edge["source"])
        following[near].append(far)
    level = levels(found, down)
    lines: list[str] = []
    shown: set[str] = set()
    waiting = [(arn, 0) for arn in reversed(found["entities"]) if not level[arn]]
    while waiting:
        arn, deep = waiting.pop()
        told = found["entities"][arn]
        again = arn in shown
        shown.add(arn)
        source = f"  {told['source']}" if told["source"] not in ("", told["name"]) else ""
        lines.append(f"{'  ' * deep}{told['type']}  {told['name']}{' (see above)' if again else source}")
        if not again:
            lines += [f"{'  ' * (deep + 1)}- {key}  {etag}" for key, etag in sorted(told["objects"].items())]
            waiting += [(far, deep + 1) for far in reversed(following[arn])]
    return lines


def picture(title: str, found: Mapping[str, Any], down: bool) -> str:
    """An SVG: where it began on the left, or, of what led there, on the right."""
    return draw([graph(title, found, down)], f"The lineage of {title}")


def graph(title: str, found: Mapping[str, Any], down: bool) -> Graph:
    level = levels(found, down)
    last = max(level.values(), default=0)
    rows: dict[int, int] = {}
    boxes: list[Box] = []
    for arn, deep in level.items():
        row = rows[deep] = rows.get(deep, -1) + 1
        column = deep if down else last - deep
        told = found["entities"][arn]
        lines = (
            _short(told["name"]),
            counted(len(told["objects"]), "object") if told["objects"] else arn.rpartition("/")[2][:8],
        )
        boxes.append(
            Box(
                f"{told['type'][:_WORD]} {len(boxes) + 1}",
                (_WIDE / 2 + column * _ACROSS, 45 + row * _DOWN),
                lines,
                _WIDE,
            )
        )
    name = dict(zip(level, (box.name for box in boxes), strict=True))
    arrows = tuple(Arrow(name[e["source"]], name[e["destination"]], "") for e in found["edges"])
    return Graph(title, tuple(boxes), arrows)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"...{text[3 - _LONGEST :]}"
