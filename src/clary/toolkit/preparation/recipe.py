"""A recipe: what preparation does to which column, and how rows are split. The schema, the parser, and the rules between fields.

Pure, standard library only. A recipe is checked in two steps: by itself (`parse`), and against the columns that the data has (`bind`),
because what is not said follows from the data's own types. Errors name the place: `columns.age.fill: ...`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from clary.toolkit import documents
from clary.toolkit.documents import DocumentError

NUMBER, CATEGORY, TEXT, DATE = "number", "category", "text", "date"
KINDS = (NUMBER, CATEGORY, TEXT, DATE)
DATE_PARTS = ("year", "quarter", "month", "day", "weekday", "hour", "minute", "day_of_year", "seconds")
RATIO, PRODUCT, DIFFERENCE, CROSS = "ratio", "product", "difference", "cross"
DERIVED = (RATIO, PRODUCT, DIFFERENCE, CROSS)
TRAIN = "train"
RANDOM, STRATIFIED, TIME, GROUP = "random", "stratified", "time", "group"

_NAME = {"type": "string", "minLength": 1}
_PAIR = {"type": "array", "items": _NAME, "minItems": 2, "maxItems": 2}
_PART = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}


def _closed(**properties: Any) -> Dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _must(required: Sequence[str], **properties: Any) -> Dict[str, Any]:
    return {**_closed(**properties), "required": list(required)}


_COLUMN = _closed(
    kind={"enum": list(KINDS), "description": "what the column holds; without it the data's first 20,480 rows tell"},
    invalid={"enum": ["error", "missing"], "description": "what a value is that is none of its kind"},
    ratio={**_PAIR, "description": "derive: the first number by the second; by zero it is missing"},
    product={**_PAIR, "description": "derive: an interaction of two numbers"},
    difference={**_PAIR, "description": "derive: the first number without the second"},
    cross={**_PAIR, "description": "derive: an interaction of two categories"},
    missing_flag={"type": "boolean", "description": "a further feature: 1 where the value is missing"},
    fill={
        "description": "what stands where nothing does",
        "oneOf": [
            {"type": "string", "enum": ["mean", "median", "most_frequent", "none"]},
            _must(["value"], value={"type": ["number", "string"]}),
        ],
    },
    bound={
        "description": "outliers become the bound itself",
        "oneOf": [
            _must(
                ["quantiles"],
                quantiles={
                    "type": "array",
                    "items": {"type": "number", "minimum": 0, "maximum": 1},
                    "minItems": 2,
                    "maxItems": 2,
                },
            ),
            _must(
                ["robust_z"],
                robust_z={
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "description": "interquartile ranges by 1.349 from the median",
                },
            ),
            _closed(min={"type": "number"}, max={"type": "number"}),
        ],
    },
    bins={
        "description": "a number becomes the number of its bin",
        "oneOf": [
            _must(["edges"], edges={"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 1000}),
            _must(["quantiles"], quantiles={"type": "integer", "minimum": 2, "maximum": 1000}),
        ],
    },
    normalise={
        "enum": ["standard", "robust", "minmax", "none"],
        "description": "as scikit-learn's scaler of that name",
    },
    encode={
        "description": "of a category, or of bins",
        "oneOf": [
            {"type": "string", "enum": ["one_hot", "ordinal", "target", "none"]},
            _must(
                ["target"],
                target=_closed(
                    folds={"type": "integer", "minimum": 2, "maximum": 20}, smooth={"type": "number", "minimum": 0}
                ),
            ),
        ],
    },
    max_categories={"type": "integer", "minimum": 1, "maximum": 10_000, "description": "the most frequent ones; 100"},
    min_count={"type": "integer", "minimum": 1, "description": "rarer categories are as unknown ones; 1"},
    unknown={"enum": ["ignore", "error"], "description": "what a category does that training never saw"},
    hash={
        **_closed(features={"type": "integer", "minimum": 2, "maximum": 4096}),
        "description": "of a text: words into so many features; 64",
    },
    parts={"type": "array", "items": {"enum": list(DATE_PARTS)}, "minItems": 1, "description": "features of a date"},
)
SCHEMA: Dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Recipe of a preparation",
    **_closed(
        version={"const": 1, "description": "of this schema"},
        input=_closed(
            format={"enum": ["csv", "jsonlines", "parquet"], "description": "the files' endings tell it"},
            header={"type": "boolean", "description": "CSV: the first line names the columns; true"},
            names={"type": "array", "items": _NAME, "minItems": 1, "description": "CSV without header: the columns"},
            delimiter={"type": "string", "minLength": 0, "description": "CSV: ,"},
        ),
        output=_closed(
            format={"enum": ["parquet", "csv"], "description": "parquet"},
            header={"type": "boolean", "description": "CSV: a first line of names; false, as built-in algorithms want it"},
        ),
        missing={"type": "array", "items": {"type": "string"}, "description": "texts that mean nothing, beside the empty one"},
        target={
            "description": "the column that is predicted; it comes first in the output",
            "oneOf": [_NAME, _must(["column"], column=_NAME, kind={"enum": [NUMBER, CATEGORY]}, positive={"type": ["string", "number"]})],
        },
        split=_closed(
            by={"enum": [RANDOM, STRATIFIED, TIME, GROUP], "description": "random; stratified by the target"},
            column={**_NAME, "description": "of times or groups, or what is stratified by"},
            parts={"type": "object", "minProperties": 1, "additionalProperties": _PART},
            cuts={"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1},
            seed={"type": "integer", "minimum": 0},
        ),
        drop={"type": "array", "items": _NAME, "description": "columns that are no features"},
        others={"enum": ["keep", "drop", "error"], "description": "columns that are named nowhere; keep, by their kind's defaults"},
        columns={"type": "object", "additionalProperties": _COLUMN},
    ),
}  # fmt: skip

_DEFAULT_PARTS = {TRAIN: 0.8, "validation": 0.1, "test": 0.1}
_ONLY = {
    NUMBER: ("fill", "bound", "bins", "normalise", "encode", "missing_flag", "invalid", "max_categories"),
    CATEGORY: ("fill", "encode", "max_categories", "min_count", "unknown", "missing_flag"),
    TEXT: ("hash", "missing_flag"),
    DATE: ("parts", "missing_flag", "invalid", "normalise"),
}


@dataclass(frozen=True)
class ColumnRecipe:
    """What is done to one column, source or derived; all of it said. `of`: the two that it is derived from."""

    name: str
    kind: str
    derived: str = ""
    of: Tuple[str, ...] = ()
    invalid: str = "error"
    missing_flag: bool = False
    fill: Any = None  # None, "mean", "median", "most_frequent" or {"value": ...}
    bound: Mapping[str, Any] = field(default_factory=dict)
    bins: Mapping[str, Any] = field(default_factory=dict)
    normalise: str = "none"
    encode: str = "none"
    folds: int = 5
    smooth: float = 20.0
    max_categories: int = 100
    min_count: int = 1
    unknown: str = "ignore"
    features: int = 64
    parts: Tuple[str, ...] = ()

    @property
    def sketched(self) -> bool:
        """Whether quantiles decide something."""
        wants = self.fill == "median" or self.normalise == "robust" or "quantiles" in self.bins
        return wants or "quantiles" in self.bound or "robust_z" in self.bound


@dataclass(frozen=True)
class Target:
    column: str
    kind: str
    positive: Optional[str] = None


@dataclass(frozen=True)
class Split:
    """`parts` in order, training first, with shares that add up to 1; `cuts` are the texts where further parts begin."""

    by: str
    column: str
    parts: Mapping[str, float]
    cuts: Tuple[Any, ...]
    seed: int
    kind: str = CATEGORY  # how its column is read


@dataclass(frozen=True)
class Recipe:
    """A recipe bound to the data's columns. `inputs`: kind of each source column that is needed, in the data's order."""

    inputs: Mapping[str, str]
    columns: Tuple[ColumnRecipe, ...]
    target: Optional[Target]
    split: Split
    missing: Tuple[str, ...]
    output: str
    header: bool

    @property
    def features_from(self) -> Tuple[str, ...]:
        """The source columns that a served row has, in the data's order."""
        used = {name for column in self.columns for name in (column.of or (column.name,))}
        return tuple(name for name in self.inputs if name in used)


def parse(text: str) -> Mapping[str, Any]:
    """The recipe as plain values, checked by the schema. DocumentError with every problem and its place."""
    value = documents.read(text, "recipe")
    documents.check({} if value is None else value, SCHEMA, "recipe")
    problems = _by_itself(value or {})
    if problems:
        raise DocumentError("recipe", problems)
    return dict(value or {})


def _by_itself(value: Mapping[str, Any]) -> List[Tuple[str, str]]:
    problems: List[Tuple[str, str]] = []
    split = value.get("split", {})
    parts, by = split.get("parts", _DEFAULT_PARTS), split.get("by", RANDOM)
    if TRAIN not in parts:
        problems.append(("split.parts", "must have a part named train: everything is fitted on it"))
    if abs(sum(parts.values()) - 1) > 1e-9:
        problems.append(("split.parts", "must add up to 1, not {:g}".format(sum(parts.values()))))
    for name in parts:
        if not name.replace("_", "").replace("-", "").isalnum() or name in ("model", "report"):
            problems.append(
                (
                    "split.parts." + name,
                    "must be of letters, digits, - and _, and not model or report: it names a folder",
                )
            )
    if by in (TIME, GROUP) and "column" not in split:
        problems.append(("split.column", "is missing: which column holds the {}s?".format(by)))
    if by == STRATIFIED and "column" not in split and "target" not in value:
        problems.append(("split.column", "is missing: there is no target to stratify by"))
    if "cuts" in split and by != TIME:
        problems.append(("split.cuts", "are of a split by time, not {}".format(by)))
    if "cuts" in split and len(split["cuts"]) != len(parts) - 1:
        problems.append(("split.cuts", "must be {}: one where each part after the first begins".format(len(parts) - 1)))
    for name, column in value.get("columns", {}).items():
        problems += _of_column("columns." + name, column)
    return problems


def _of_column(place: str, column: Mapping[str, Any]) -> List[Tuple[str, str]]:
    problems = []
    if len([each for each in DERIVED if each in column]) > 1:
        problems.append((place, "is derived in more than one way"))
    low, high = column.get("bound", {}).get("quantiles", (0, 1))
    bound = column.get("bound", {})
    if low >= high or bound.get("min", 0) > bound.get("max", bound.get("min", 0)):
        problems.append((place + ".bound", "must go up: the lower bound comes first"))
    edges = column.get("bins", {}).get("edges", ())
    if list(edges) != sorted(set(edges)):
        problems.append((place + ".bins.edges", "must go up"))
    if isinstance(column.get("encode"), dict) or column.get("encode") == "target":
        if "bins" in column:
            problems.append((place + ".encode", "of bins must be one_hot, ordinal or none"))
    return problems


def bind(value: Mapping[str, Any], found: Mapping[str, str]) -> Recipe:
    """The recipe over the columns that the data has (name -> kind as the data tells it, in order). DocumentError for what does not fit."""
    problems: List[Tuple[str, str]] = []
    target = _target(value, found)
    split = _split(value, target)
    named: Dict[str, Mapping[str, Any]] = dict(value.get("columns", {}))
    for place, name in _named_columns(value, target, split):
        if name not in found:
            known = list(found)
            words = "the data has no column {!r}; it has {}".format(
                name, ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
            )
            problems.append((place, words + documents.meant(name, known)))
    for name in named:
        if name in found and any(each in named[name] for each in DERIVED):
            problems.append(("columns." + name, "is derived, and the data has a column of that name"))
    if problems:
        raise DocumentError("recipe", problems)
    kinds = {name: named.get(name, {}).get("kind", kind) for name, kind in found.items()}
    gone = set(value.get("drop", ())) | ({target.column} if target else set())
    if split.by in (TIME, GROUP) and split.column not in named:
        gone.add(split.column)
    rest = [name for name in found if name not in gone and name not in named]
    others = value.get("others", "keep")
    if others == "error" and rest:
        raise DocumentError("recipe", [("columns", "names nothing for {}".format(", ".join(rest)))])
    used = [name for name in found if name in named or (others == "keep" and name in rest)]
    used += [name for name in named if name not in found]
    columns = [_column(name, named.get(name, {}), kinds, target, problems) for name in used]
    if problems:
        raise DocumentError("recipe", problems)
    if not columns:
        raise DocumentError("recipe", [("columns", "leaves no feature")])
    inputs = _inputs(columns, target, kinds, found)
    if target and target.column in {name for column in columns for name in (column.of or (column.name,))}:
        raise DocumentError("recipe", [("columns", "use the target {!r} as a feature".format(target.column))])
    if split.by == TIME:
        split = replace(split, kind=NUMBER if kinds[split.column] == NUMBER else DATE)
    output = value.get("output", {})
    return Recipe(
        inputs,
        tuple(columns),
        target,
        split,
        tuple(value.get("missing", ())),
        output.get("format", "parquet"),
        output.get("header", False),
    )


def _named_columns(value: Mapping[str, Any], target: Optional[Target], split: Split) -> List[Tuple[str, str]]:
    """`(place, column)` of all source columns that the recipe names."""
    places = [("drop[{}]".format(n), name) for n, name in enumerate(value.get("drop", ()))]
    places += [("target", target.column)] if target else []
    places += [("split.column", split.column)] if split.column else []
    for name, column in value.get("columns", {}).items():
        derived = next((each for each in DERIVED if each in column), "")
        if derived:
            places += [("columns.{}.{}".format(name, derived), each) for each in column[derived]]
        else:
            places.append(("columns." + name, name))
    return places


def _target(value: Mapping[str, Any], found: Mapping[str, str]) -> Optional[Target]:
    given = value.get("target")
    if given is None:
        return None
    given = {"column": given} if isinstance(given, str) else given
    kind = given.get("kind") or (
        NUMBER if found.get(given["column"]) == NUMBER and "positive" not in given else CATEGORY
    )
    positive = given.get("positive")
    return Target(given["column"], kind, None if positive is None else str(positive))


def _split(value: Mapping[str, Any], target: Optional[Target]) -> Split:
    given = value.get("split", {})
    by = given.get("by", RANDOM)
    column = given.get("column") or (target.column if by == STRATIFIED and target else "")
    parts = given.get("parts", _DEFAULT_PARTS)
    order = [TRAIN, *(name for name in parts if name != TRAIN)]
    return Split(
        by,
        "" if by == RANDOM else column,
        {name: parts[name] for name in order},
        tuple(given.get("cuts", ())),
        given.get("seed", 0),
    )


def _column(
    name: str,
    given: Mapping[str, Any],
    kinds: Mapping[str, str],
    target: Optional[Target],
    problems: List[Tuple[str, str]],
) -> ColumnRecipe:
    place = "columns." + name
    derived = next((each for each in DERIVED if each in given), "")
    kind = kinds.get(name, "") if not derived else CATEGORY if derived == CROSS else NUMBER
    for each in given.get(derived, ()) if derived else ():
        wanted = CATEGORY if derived == CROSS else NUMBER
        if kinds[each] != wanted:
            problems.append((place + "." + derived, "{!r} is a {}, and must be a {}".format(each, kinds[each], wanted)))
    for option in given:
        if option not in (*_ONLY[kind], *DERIVED, "kind"):
            fitting = [each for each in KINDS if option in _ONLY[each]]
            problems.append(
                (place + "." + option, "is of a {}; this column is a {}".format(" or a ".join(fitting), kind))
            )
    fill = given.get("fill", "none")
    if kind == CATEGORY and fill in ("mean", "median"):
        problems.append((place + ".fill", "of a category must be most_frequent, none or a value"))
    if isinstance(fill, dict) and kind == NUMBER and not isinstance(fill["value"], (int, float)):
        problems.append((place + ".fill.value", "must be a number: the column is one"))
    encode = given.get("encode", "one_hot" if kind == CATEGORY else "none")
    options = encode.get("target", {}) if isinstance(encode, dict) else {}
    encode = "target" if isinstance(encode, dict) else encode
    if encode == "target" and target is None:
        problems.append((place + ".encode", "by the target needs one"))
    if kind == NUMBER and encode != "none" and "bins" not in given:
        problems.append((place + ".encode", "of a number needs bins, or kind: category"))
    if kind == CATEGORY and encode == "none":
        problems.append(
            (place + ".encode", "must be one_hot, ordinal or target; a column that is no feature is named in drop")
        )
    return ColumnRecipe(
        name=name,
        kind=kind,
        derived=derived,
        of=tuple(given.get(derived, ())) if derived else (),
        invalid=given.get("invalid", "error"),
        missing_flag=given.get("missing_flag", False),
        fill=None if fill == "none" else fill,
        bound=dict(given.get("bound", {})),
        bins=dict(given.get("bins", {})),
        normalise=given.get("normalise", "none"),
        encode=encode,
        folds=options.get("folds", 5),
        smooth=float(options.get("smooth", 20.0)),
        max_categories=given.get("max_categories", 100),
        min_count=given.get("min_count", 1),
        unknown=given.get("unknown", "ignore"),
        features=given.get("hash", {}).get("features", 64),
        parts=tuple(given.get("parts", ("year", "month", "day", "weekday", "hour"))) if kind == DATE else (),
    )  # fmt: skip


def _inputs(
    columns: Sequence[ColumnRecipe], target: Optional[Target], kinds: Mapping[str, str], found: Mapping[str, str]
) -> Dict[str, str]:
    used = {name for column in columns for name in (column.of or (column.name,))}
    own = {target.column: target.kind} if target else {}
    return {name: own.get(name, kinds[name]) for name in found if name in used or name in own}
