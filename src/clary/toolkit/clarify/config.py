"""analysis_config.json: what an analysis is asked for. Pure."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from clary.toolkit.clarify import bias

Name = Union[str, int]
DATASETS = (
    "text/csv", "application/jsonlines", "application/json", "application/x-parquet", "application/sagemakercapturejson",
)  # fmt: skip
METHODS = ("pre_training_bias", "post_training_bias", "shap", "pdp", "report")
AGGREGATIONS = ("mean_abs", "median", "mean_sq")
REQUESTS = ("text/csv", "application/jsonlines", "application/json")
DEFAULT_SEED = 0


class CustomerError(ValueError):
    """Something that the user gave; the text says what, where and what to do."""


class Facet(NamedTuple):
    name: Name
    values: Tuple[Any, ...]


class Shap(NamedTuple):
    """`baseline`: rows, an S3 URI, or None (it is computed); `samples` 0: as many as the number of features asks for."""

    baseline: Any
    clusters: int
    samples: int
    aggregation: str
    logit: bool
    local: bool
    seed: int
    features: Tuple[Name, ...]


class Pdp(NamedTuple):
    resolution: int
    features: Tuple[Name, ...]
    top: int


class Predictor(NamedTuple):
    """How the model is asked, and where its answer holds label and probabilities."""

    model: str
    endpoint: str
    prefix: str
    instance_type: str
    instances: int
    target_model: str
    content_type: str
    accept: str
    label: Optional[Name]
    probability: Optional[Name]
    label_headers: Tuple[Any, ...]
    content_template: str
    record_template: str
    custom_attributes: str


class Analysis(NamedTuple):
    """The whole. `pre` and `post` are names of metrics; None: not asked for. `threshold` None: 0.5, where one is needed."""

    dataset_type: str
    headers: Optional[Tuple[str, ...]]
    label: Optional[Name]
    predicted_label: Optional[Name]
    features: str
    positive: Tuple[Any, ...]
    threshold: Optional[float]
    facets: Tuple[Facet, ...]
    group: Optional[Name]
    join: Optional[Name]
    excluded: Tuple[Name, ...]
    predicted_uri: str
    predicted_headers: Optional[Tuple[str, ...]]
    facet_uri: str
    facet_headers: Optional[Tuple[str, ...]]
    pre: Optional[Tuple[str, ...]]
    post: Optional[Tuple[str, ...]]
    shap: Optional[Shap]
    pdp: Optional[Pdp]
    report: Optional[Dict[str, Any]]
    predictor: Optional[Predictor]


def document(text: str) -> Dict[str, Any]:
    """A configuration's text as a document; CustomerError for what is none."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise CustomerError("Unable to load analysis config: it is not JSON: {}".format(error)) from None
    if not isinstance(given, dict):
        raise CustomerError("Unable to load analysis config: it must be a JSON object")
    return given


def analysis(given: Dict[str, Any]) -> Analysis:
    """The analysis that a document asks for."""
    kind = _dataset_type(given)
    methods = given.get("methods")
    if not isinstance(methods, dict) or not set(methods) - {"report"}:
        raise _wrong("methods", "must name at least one of pre_training_bias, post_training_bias, shap and pdp")
    _check_methods(methods)
    asked = Analysis(
        dataset_type=kind,
        headers=_texts(given, "headers"),
        label=_name(given, "label"),
        predicted_label=_name(given, "predicted_label"),
        features=_typed(given, "features", str, ""),
        positive=tuple(_typed(given, "label_values_or_threshold", list, [])),
        threshold=_optional_number(given, "probability_threshold"),
        facets=_facets(given),
        group=_name(given, "group_variable"),
        join=_name(given, "joinsource_name_or_index"),
        excluded=tuple(_typed(given, "excluded_columns", list, [])),
        predicted_uri=_typed(given, "predicted_label_dataset_uri", str, ""),
        predicted_headers=_texts(given, "predicted_label_headers"),
        facet_uri=_typed(given, "facet_dataset_uri", str, ""),
        facet_headers=_texts(given, "facet_headers"),
        pre=_metrics(methods, "pre_training_bias", bias.PRE_TRAINING),
        post=_metrics(methods, "post_training_bias", bias.POST_TRAINING),
        shap=_shap(methods.get("shap")),
        pdp=_pdp(methods.get("pdp")),
        report=methods.get("report"),
        predictor=_predictor(given.get("predictor")),
    )
    _check_whole(asked)
    return asked


def _dataset_type(given: Dict[str, Any]) -> str:
    kind = str(given.get("dataset_type", "text/csv")).lower()
    if kind == "application/x-image":
        raise _wrong(
            "dataset_type",
            "'application/x-image' is not supported: Clary explains tabular data only, neither images nor texts",
        )
    if kind not in DATASETS:
        raise _wrong("dataset_type", "{!r} is none of {}".format(kind, ", ".join(DATASETS)))
    for key in ("time_series_data_config", "segment_config"):
        if given.get(key):
            raise _wrong(key, "is not supported: leave it out")
    return kind


def _check_methods(methods: Dict[str, Any]) -> None:
    if "asymmetric_shapley_value" in methods:
        raise _wrong(
            "methods.asymmetric_shapley_value", "is not supported: Clary explains tabular data only, no time series"
        )
    for name, body in methods.items():
        if name not in METHODS:
            raise _wrong("methods", "{!r} is none of {}".format(name, ", ".join(METHODS)))
        if not isinstance(body, dict):
            raise _wrong("methods." + name, "must be an object")


def _check_whole(asked: Analysis) -> None:
    if asked.pre is not None or asked.post is not None:
        if not asked.facets:
            raise _wrong("facet", 'bias metrics need at least one facet: [{"name_or_index": ...}]')
        if asked.label is None:
            raise _wrong("label", "bias metrics need the column of the observed label")
        if not asked.positive:
            raise _wrong("label_values_or_threshold", "bias metrics need the label's positive values, or a threshold")
    captured = asked.dataset_type == "application/sagemakercapturejson"  # with the model's answers
    predicted = asked.predicted_label is not None or bool(asked.predicted_uri) or captured
    if asked.post is not None and asked.predictor is None and not predicted:
        raise _wrong(
            "predictor", "post_training_bias needs a predictor, predicted_label or predicted_label_dataset_uri"
        )
    if (asked.shap or asked.pdp) and asked.predictor is None:
        raise _wrong(
            "predictor", "shap and pdp ask a model: name one as predictor.model_name, or predictor.endpoint_name"
        )
    if asked.pdp and not asked.shap and not asked.pdp.features:
        raise _wrong("methods.pdp.features", "must be given where shap is not asked for, which would choose them")


def _metrics(methods: Dict[str, Any], which: str, table: Dict[str, Any]) -> Optional[Tuple[str, ...]]:
    if which not in methods:
        return None
    asked = methods[which].get("methods", "all")
    names = list(table) if asked in ("all", ["all"]) else [asked] if isinstance(asked, str) else asked
    unknown = [each for each in names if each not in table] if isinstance(names, list) else [names]
    if unknown or not names:
        raise _wrong(
            "methods.{}.methods".format(which), '{!r}: metrics are "all" or some of {}'.format(asked, ", ".join(table))
        )
    return tuple(names)


def _facets(given: Dict[str, Any]) -> Tuple[Facet, ...]:
    found = []
    for at, each in enumerate(_typed(given, "facet", list, [])):
        where = "facet[{}]".format(at)
        if not isinstance(each, dict) or not isinstance(each.get("name_or_index"), (str, int)):
            raise _wrong(where, "must be an object with name_or_index")
        values = each.get("value_or_threshold") or []
        found.append(Facet(each["name_or_index"], tuple(values if isinstance(values, list) else [values])))
    return tuple(found)


def _shap(body: Optional[Dict[str, Any]]) -> Optional[Shap]:
    if body is None:
        return None
    for key, what in (("text_config", "texts"), ("image_config", "images")):
        if body.get(key):
            raise _wrong("methods.shap." + key, "is not supported: Clary explains tabular data only, no " + what)
    aggregation = str(body.get("agg_method", "mean_abs")).lower()
    if aggregation not in AGGREGATIONS:
        raise _wrong("methods.shap.agg_method", "{!r} is none of {}".format(aggregation, ", ".join(AGGREGATIONS)))
    baseline = body.get("baseline")
    if baseline is not None and not isinstance(baseline, (str, list)):
        raise _wrong("methods.shap.baseline", "must be a list of rows, or the S3 URI of a file with rows")
    if isinstance(baseline, list) and not baseline:
        raise _wrong("methods.shap.baseline", "has no rows")
    return Shap(
        baseline=baseline,
        clusters=_count(body, "num_clusters", 1, "methods.shap."),
        samples=_count(body, "num_samples", 0, "methods.shap."),
        aggregation=aggregation,
        logit=bool(body.get("use_logit", False)),
        local=bool(body.get("save_local_shap_values", True)),
        seed=_count(body, "seed", DEFAULT_SEED, "methods.shap."),
        features=tuple(body.get("features_to_explain") or ()),
    )


def _pdp(body: Optional[Dict[str, Any]]) -> Optional[Pdp]:
    if body is None:
        return None
    resolution = _count(body, "grid_resolution", 15, "methods.pdp.")
    if not 2 <= resolution <= 1000:
        raise _wrong("methods.pdp.grid_resolution", "must be 2 to 1000, is {}".format(resolution))
    return Pdp(resolution, tuple(body.get("features") or ()), _count(body, "top_k_features", 10, "methods.pdp."))


def _predictor(body: Optional[Dict[str, Any]]) -> Optional[Predictor]:
    if not body:
        return None
    if not isinstance(body, dict):
        raise _wrong("predictor", "must be an object")
    if body.get("time_series_predictor_config"):
        raise _wrong("predictor.time_series_predictor_config", "is not supported: Clary explains tabular data only")
    model, endpoint = _typed(body, "model_name", str, ""), _typed(body, "endpoint_name", str, "")
    if bool(model) == bool(endpoint):
        raise _wrong("predictor", "must have either model_name (an endpoint is made of it) or endpoint_name")
    instances = _count(body, "initial_instance_count", 1, "predictor.")
    if instances < 1:
        raise _wrong("predictor.initial_instance_count", "must be at least 1")
    content_type = str(body.get("content_type", "text/csv")).lower()
    accept = str(body.get("accept_type", content_type)).lower()
    if content_type not in REQUESTS:
        raise _wrong(
            "predictor.content_type",
            "{!r} is not supported: it must be one of {}".format(content_type, ", ".join(REQUESTS)),
        )
    if accept not in REQUESTS:
        raise _wrong("predictor.accept_type", "{!r} is none of {}".format(accept, ", ".join(REQUESTS)))
    template, record = _template(body, content_type)
    headers = body.get("label_headers") or ()
    return Predictor(
        model, endpoint, _typed(body, "endpoint_name_prefix", str, ""), _typed(body, "instance_type", str, "ml.m5.large"), instances,
        _typed(body, "target_model", str, ""), content_type, accept, _name(body, "label"), _name(body, "probability"),
        tuple(headers if isinstance(headers, list) else [headers] if isinstance(headers, str) else ()), template, record,
        _typed(body, "custom_attributes", str, ""),
    )  # fmt: skip


def _template(body: Dict[str, Any], content_type: str) -> Tuple[str, str]:
    """content_template and record_template as texts; CustomerError where the content type asks for one."""
    given = body.get("content_template", "")
    template = given if isinstance(given, str) else json.dumps(given)
    record = _typed(body, "record_template", str, "")
    if content_type == "application/jsonlines" and "$feature" not in template:
        raise _wrong(
            "predictor.content_template",
            'must hold $features for application/jsonlines, such as {"features": $features}',
        )
    if content_type == "application/json":
        if "$record" not in template:
            raise _wrong("predictor.content_template", "must hold $records or $record for application/json")
        if "$feature" not in record and "${" not in record:
            raise _wrong(
                "predictor.record_template", "must hold $features or ${name} for application/json, such as $features"
            )
    return template, record


def _wrong(where: str, words: str) -> CustomerError:
    return CustomerError("Invalid analysis config: {}: {}".format(where, words))


def _typed(given: Dict[str, Any], key: str, kind: Any, default: Any) -> Any:
    value = given.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise _wrong(key, "must be {}, is {!r}".format({str: "a text", list: "a list"}[kind], value))
    return value


def _name(given: Dict[str, Any], key: str) -> Optional[Name]:
    value = given.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
        raise _wrong(key, "must be a name or an index, is {!r}".format(value))
    return value


def _texts(given: Dict[str, Any], key: str) -> Optional[Tuple[str, ...]]:
    value: Optional[List[Any]] = _typed(given, key, list, None)
    return None if value is None else tuple(str(each) for each in value)


def _count(given: Dict[str, Any], key: str, default: int, where: str) -> int:
    value = given.get(key, default)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(where + key, "must be a whole number, not negative, is {!r}".format(value))
    return value


def _optional_number(given: Dict[str, Any], key: str) -> Optional[float]:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(key, "must be a number, is {!r}".format(value))
    return float(value)


def found(names: Sequence[str], name: Name, where: str) -> int:
    """The index of a column by name or index; CustomerError, with the names there are, where there is none."""
    if isinstance(name, int):
        if -len(names) <= name < len(names):
            return name % len(names)
    elif name in names:
        return list(names).index(name)
    shown = ", ".join(repr(each) for each in list(names)[:30])
    raise _wrong(where, "the dataset has no column {!r}; it has {} columns: {}".format(name, len(names), shown))
