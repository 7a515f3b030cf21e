"""Documents that people write for the toolkit (a brief, a recipe): YAML or JSON text into plain values, checked by a JSON schema.

Owns the reading (a name given twice is an error, a date of YAML's is its text) and the part of JSON Schema that our schemas use, with
errors that name the place: `columns.age.fill: ...`. The schemas themselves are beside what reads them, and published in docs/schemas.
Knows no files. YAML needs PyYAML, which only some runtimes have; JSON needs nothing.
"""

from __future__ import annotations

import datetime
import difflib
import json
import math
import operator
from typing import Any, Dict, List, Mapping, Sequence, Tuple

MAX_BYTES = 1 << 20
Schema = Mapping[str, Any]

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "number": (int, float),
    "integer": int,
    "null": type(None),
}


class DocumentError(ValueError):
    """The document is not what its schema says. `problems` are `(place, what is wrong and what to do)`."""

    def __init__(self, what: str, problems: Sequence[Tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join("{}: {}".format(place or what, text) for place, text in problems))


def read(text: str, what: str) -> Any:
    """The document's value. DocumentError, with line and column where the parser tells them. `what` names it in errors."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise DocumentError(what, [("", "is longer than {} bytes".format(MAX_BYTES))])
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text, object_pairs_hook=_once)
        except _Twice as error:
            raise DocumentError(what, [("", "{!r} is given twice".format(str(error)))]) from None
        except (ValueError, RecursionError) as error:
            raise DocumentError(what, [("", "is not JSON: {}".format(error))]) from None
    return _yaml(text, what)


class _Twice(ValueError):
    pass


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    made: Dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise _Twice(name)
        made[name] = value
    return made


def _yaml(text: str, what: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise DocumentError(
            what, [("", "is not JSON, and this runtime reads no YAML: write it as JSON, or install PyYAML")]
        ) from None

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Plain values only; no aliases, which could make a small text a huge value."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise DocumentError(what, [("", "line {}: YAML aliases are not supported".format(_line(self)))])
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                line = node.start_mark.line + 1
                raise DocumentError(what, [("", "{!r} is given twice in the mapping at line {}".format(twice, line))])
            return super().construct_mapping(node, deep=deep)

    try:
        return _plain(yaml.load(text, Loader))  # a SafeLoader: it makes no objects
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError(what, [("", "is not YAML: {}".format(" ".join(str(error).split())))]) from None


def _line(loader: Any) -> int:
    return int(loader.peek_event().start_mark.line) + 1


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name) if not isinstance(name, bool) else str(name).lower(): _plain(v) for name, v in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return value


def check(value: Any, schema: Schema, what: str) -> None:
    """DocumentError, with all problems, unless the value matches the schema."""
    problems = problems_of(value, schema)
    if problems:
        raise DocumentError(what, problems)


def problems_of(value: Any, schema: Schema, place: str = "") -> List[Tuple[str, str]]:
    """What does not match. Understood of JSON Schema: type, enum, const, required, properties, additionalProperties, items, minItems,
    maxItems, minLength, minimum, maximum, exclusiveMinimum, exclusiveMaximum, oneOf (told apart by type, or by the member that all of
    them name)."""
    if "oneOf" in schema:
        return _one_of(value, schema["oneOf"], place)
    if "type" in schema and not _is(value, schema["type"]):
        return [(place, "must be {}, not {}".format(_article(schema["type"]), _shown(value)))]
    if "const" in schema and value != schema["const"]:
        return [(place, "must be {}, not {}".format(_shown(schema["const"]), _shown(value)))]
    if "enum" in schema and value not in schema["enum"]:
        known = [str(each) for each in schema["enum"]]
        return [(place, "must be one of {}, not {}{}".format(", ".join(known), _shown(value), meant(value, known)))]
    if isinstance(value, dict):
        return _members(value, schema, place)
    if isinstance(value, list):
        return _items(value, schema, place)
    if isinstance(value, str) and len(value.strip()) < schema.get("minLength", 0):
        return [(place, "must not be empty")]
    return _bounds(value, schema, place)


def _one_of(value: Any, kinds: Sequence[Schema], place: str) -> List[Tuple[str, str]]:
    fitting = [each for each in kinds if "type" not in each or _is(value, each["type"])]
    if not fitting:
        wanted = " or ".join(_article(each["type"]) for each in kinds)
        return [(place, "must be {}, not {}".format(wanted, _shown(value)))]
    found = [problems_of(value, each, place) for each in fitting]
    return min(found, key=len)


def _members(value: Mapping[str, Any], schema: Schema, place: str) -> List[Tuple[str, str]]:
    known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
    problems = [
        (_in(place, name), "is missing{}".format(_told(known.get(name, {}))))
        for name in schema.get("required", ())
        if name not in value
    ]
    if len(value) < schema.get("minProperties", 0):
        problems.append((place, "must not be empty"))
    for name, member in value.items():
        if name in known:
            problems += problems_of(member, known[name], _in(place, name))
        elif isinstance(rest, Mapping):
            problems += problems_of(member, rest, _in(place, name))
        elif not rest:
            words = "is not known; known are {}{}".format(", ".join(known), meant(name, list(known)))
            problems.append((_in(place, name), words))
    return problems


def _items(value: Sequence[Any], schema: Schema, place: str) -> List[Tuple[str, str]]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf):
        words = "must have {} to {} items, not {}".format(
            schema.get("minItems", 0), schema.get("maxItems", "any number of"), len(value)
        )
        return [(place, words)]
    items: Schema = schema.get("items", {})
    return [found for number, each in enumerate(value) for found in problems_of(each, items, _at(place, number))]


def _bounds(value: Any, schema: Schema, place: str) -> List[Tuple[str, str]]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return []
    if isinstance(value, float) and not math.isfinite(value):
        return [(place, "must be finite, not {}".format(value))]
    for name, words, missed in (
        ("minimum", "at least", operator.lt),
        ("maximum", "at most", operator.gt),
        ("exclusiveMinimum", "more than", operator.le),
        ("exclusiveMaximum", "less than", operator.ge),
    ):
        if name in schema and missed(value, schema[name]):
            return [(place, "must be {} {}, not {}".format(words, schema[name], value))]
    return []


def _is(value: Any, kind: Any) -> bool:
    kinds = kind if isinstance(kind, (list, tuple)) else (kind,)
    if isinstance(value, bool):
        return "boolean" in kinds
    return any(isinstance(value, _TYPES[each]) for each in kinds)  # type: ignore[arg-type]


def _article(kind: Any) -> str:
    names = {
        "object": "a mapping",
        "array": "a list",
        "string": "text",
        "boolean": "true or false",
        "number": "a number",
        "integer": "a whole number",
        "null": "nothing",
    }
    kinds = kind if isinstance(kind, (list, tuple)) else (kind,)
    return " or ".join(names[each] for each in kinds)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _told(schema: Schema) -> str:
    return " ({})".format(schema["description"]) if "description" in schema else ""


def meant(given: Any, known: Sequence[str]) -> str:
    """`; did you mean 'age'?` where one of the known names is near; else ''."""
    close = difflib.get_close_matches(str(given), known, 1)
    return "; did you mean {!r}?".format(close[0]) if close else ""


def _in(place: str, name: str) -> str:
    return "{}.{}".format(place, name) if place else name


def _at(place: str, number: int) -> str:
    return "{}[{}]".format(place, number)
