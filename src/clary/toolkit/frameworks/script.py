"""The user's inference script: finds its functions, fills the gaps with the framework's defaults, and answers requests.

Owns SageMaker's handler contract (`model_fn`, `input_fn`, `predict_fn`, `output_fn`, or one `transform_fn`; `pre_model_fn`,
`model_warmup_fn`; each may take a further `context`). A script with handlers of its own gets its requests one by one; a model with
default handlers gets a whole batch as one array where its framework allows that. A function that yields (`predict_fn` without an
`output_fn`, `output_fn`, `transform_fn`) answers in pieces (`pieces.py`).
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import sys
from types import ModuleType
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from clary.toolkit import content
from clary.toolkit.frames import Request
from clary.toolkit.frameworks import libraries
from clary.toolkit.frameworks.context import Context
from clary.toolkit.frameworks.defaults import Defaults
from clary.toolkit.frameworks.pieces import Pieces, yields
from clary.toolkit.inference import Handler, LoadError, Response, Streamed, in_turn
from clary.toolkit.paths import COMPAT

_ARITY = {
    "model_fn": 1,
    "input_fn": 2,
    "predict_fn": 2,
    "output_fn": 2,
    "transform_fn": 4,
    "pre_model_fn": 1,
    "model_warmup_fn": 2,
}
_Answer = Tuple[Union[bytes, Pieces], str]


class _Function:
    """One of the user's functions, called with the context when it asks for it."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function = function
        self._wants_context = _wants_context(function, _ARITY[name])

    def __call__(self, context: Optional[Context], *arguments: Any) -> Any:
        if self._wants_context:
            return self._function(*arguments, context)
        return self._function(*arguments)

    @property
    def wants_context(self) -> bool:
        return self._wants_context


def _wants_context(function: Callable[..., Any], arity: int) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > arity and (len(positional) == arity + 1 or positional[arity].name == "context")


def load(spec: Mapping[str, Any], defaults: Defaults) -> ScriptHandler:
    """Import the script and load the model."""
    libraries.provide(str(spec["model_dir"]))
    functions = _functions(_module(spec), defaults) if spec.get("program") else {}
    if "transform_fn" in functions and any(name in functions for name in ("input_fn", "predict_fn", "output_fn")):
        raise LoadError(
            "ValueError: Cannot use transform_fn implementation in conjunction with input_fn, predict_fn, and/or output_fn "
            "implementation"
        )
    model_dir = str(spec["model_dir"])
    context = Context(model_dir)
    if "pre_model_fn" in functions:
        functions["pre_model_fn"](context, model_dir)
    model = functions["model_fn"](context, model_dir) if "model_fn" in functions else defaults.model(model_dir)
    if "model_warmup_fn" in functions:
        functions["model_warmup_fn"](context, model_dir, model)
    return ScriptHandler(model, functions, defaults, model_dir)


def _module(spec: Mapping[str, Any]) -> ModuleType:
    """The script as a module under its own name, with its folder first on the path (pickles name what is defined in it)."""
    program, code_dir = str(spec["program"]), str(spec.get("code_dir") or "")
    path = os.path.join(code_dir, program)
    if not os.path.isfile(path):
        found = sorted(os.listdir(code_dir)) if os.path.isdir(code_dir) else []
        raise LoadError(
            "{} is not in {}, which holds: {}".format(program, code_dir, ", ".join(found)[:500] or "nothing")
        )
    for folder in (os.path.dirname(path), code_dir):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    if COMPAT not in sys.path:
        sys.path.append(COMPAT)
    name = os.path.splitext(os.path.basename(program))[0]
    if name.isidentifier() and name not in sys.modules:
        return importlib.import_module(name)
    found_spec = importlib.util.spec_from_file_location(name, path)
    if found_spec is None or found_spec.loader is None:
        raise LoadError("{} is not a Python file.".format(program))
    module = importlib.util.module_from_spec(found_spec)
    found_spec.loader.exec_module(module)
    return module


def _functions(module: ModuleType, defaults: Defaults) -> Dict[str, _Function]:
    found = {name: getattr(module, name) for name in _ARITY if callable(getattr(module, name, None))}
    return {name: _Function(function, name) for name, function in {**defaults.functions(module), **found}.items()}


class ScriptHandler(Handler):
    """A model with the user's functions or the framework's."""

    def __init__(self, model: Any, functions: Mapping[str, _Function], defaults: Defaults, model_dir: str) -> None:
        self._model = model
        self._defaults = defaults
        self._model_dir = model_dir
        self._functions = functions
        own = ("input_fn", "predict_fn", "output_fn", "transform_fn")
        self.batchable = defaults.batchable and not any(name in functions for name in own)
        self._accept = defaults.default_accept()
        self._wants_context = any(f.wants_context for f in functions.values())

    def predict(self, requests: Sequence[Request]) -> List[Response]:
        if self.batchable and len(requests) > 1:
            together = self._together(requests)
            if together is not None:
                return together
        return in_turn(requests, self._answer)

    def stream(self, request: Request) -> Union[Response, Streamed]:
        return in_turn([request], self._begin)[0]

    def _answer(self, request: Request) -> Response:
        answer = self._begin(request)
        if isinstance(answer, Streamed):  # to somebody who wants it whole
            return Response(200, b"".join(answer.pieces), answer.content_type, answer.headers)
        return answer

    def _begin(self, request: Request) -> Union[Response, Streamed]:
        """The whole answer, or the first piece of it."""
        context = Context(self._model_dir, request) if self._wants_context else None
        accept = self._accept if request.accept in content.ANY else request.accept
        try:
            result = self._transform(context, request, accept)
            body, content_type = _unpacked(result, accept)
        except content.BadContent as error:
            return Response(400, str(error).encode("utf-8", "replace"))
        except _Unwritable as error:
            return Response(406, str(error).encode("utf-8", "replace"))
        except content.UnsupportedFormat as error:
            return Response(415, str(error).encode("utf-8", "replace"))
        status = int(getattr(result, "status", 200))
        headers: Tuple[Tuple[str, str], ...] = ()
        if context is not None:  # after the first piece: it is made by the same code that may set these
            status, content_type, headers = (
                context.status,
                context.content_type or content_type,
                context.response_headers(),
            )
        if isinstance(body, bytes):
            return Response(status, body, content_type, headers)
        if 200 <= status < 300:
            return Streamed(body, content_type, headers, body.close)
        return Response(status, b"".join(body), content_type, headers)

    def _transform(self, context: Optional[Context], request: Request, accept: str) -> Any:
        functions, defaults = self._functions, self._defaults
        data: Any = request.body
        content_type = request.content_type or defaults.content_type
        if content.base(content_type) in content.TEXT:
            try:
                data = request.body.decode("utf-8")
            except UnicodeDecodeError as error:
                raise content.BadContent("the body is not UTF-8: {}".format(error)) from error
        if "transform_fn" in functions:
            return functions["transform_fn"](context, self._model, data, content_type, accept)
        read, predict, write = functions.get("input_fn"), functions.get("predict_fn"), functions.get("output_fn")
        value = read(context, data, content_type) if read else defaults.read(data, content_type)
        prediction = predict(context, value, self._model) if predict else defaults.predict(value, self._model)
        if write:
            return write(context, prediction, accept)
        if yields(prediction):
            return prediction
        try:
            return defaults.write(prediction, accept)
        except content.UnsupportedFormat as error:
            raise _Unwritable(str(error)) from error

    def _together(self, requests: Sequence[Request]) -> Optional[List[Response]]:
        """The whole batch in one call; None when the requests do not fit together, or anything goes wrong on the way: then they
        are answered one by one, and what is wrong concerns its own request only."""
        parts: List[Any] = []
        try:
            for request in requests:
                part = self._defaults.rows(request.body, request.content_type or self._defaults.content_type)
                if part is None:
                    return None
                parts.append(part)
            predictions = self._defaults.predict_together(parts, self._model)
            return None if predictions is None else self._written(requests, predictions)
        except Exception:
            return None

    def _written(self, requests: Sequence[Request], predictions: Sequence[Any]) -> List[Response]:
        responses: List[Response] = []
        for request, prediction in zip(requests, predictions):
            accept = self._accept if request.accept in content.ANY else request.accept
            responses.append(Response(200, *self._defaults.write(prediction, accept)))
        return responses

    def set_threads(self, count: int) -> None:
        self._defaults.set_threads(self._model, count)


class _Unwritable(Exception):
    """The default output_fn cannot write what Accept asks for."""


def _unpacked(result: Any, accept: str) -> _Answer:
    """Bytes (or the pieces of them) and content type of what output_fn or transform_fn returned: a body, `(body, content type)`, or a
    response object."""
    content_type = accept
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], str):
        result, content_type = result
    elif hasattr(result, "response") and hasattr(result, "mimetype"):  # sagemaker_containers' worker.Response
        result, content_type = result.response, result.mimetype or accept
    if isinstance(result, (bytes, bytearray, memoryview)):
        return bytes(result), content_type
    if isinstance(result, str):
        return result.encode("utf-8"), content_type
    if isinstance(result, (list, dict)):
        return json.dumps(content.plain(result)).encode(), content_type
    if yields(result):
        return Pieces(result), content_type
    raise TypeError("output_fn must return bytes or str, or yield them, not {}".format(type(result).__name__))
