"""Small ONNX models, written by hand: the format is protobuf, and these need seven of its messages. Knows no library."""

from __future__ import annotations

import struct
from collections.abc import Sequence

Shape = Sequence[int | str]
FLOAT, STRING = 1, 8


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _int(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _number(field << 3 | 2) + _number(len(data)) + data


def _value(field: int, name: str, shape: Shape, kind: int = FLOAT) -> bytes:
    dims = b"".join(_bytes(1, _int(1, n) if isinstance(n, int) else _bytes(2, n)) for n in shape)
    return _bytes(field, _bytes(1, name) + _bytes(2, _bytes(1, _int(1, kind) + _bytes(2, dims))))


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    return _bytes(1, b"".join(_bytes(1, n) for n in inputs) + b"".join(_bytes(2, n) for n in outputs) + _bytes(4, kind))


def _tensor(name: str, dims: Sequence[int], values: Sequence[float]) -> bytes:
    head = b"".join(_int(1, n) for n in dims) + _int(2, FLOAT) + _bytes(8, name)
    return _bytes(5, head + _bytes(9, struct.pack(f"<{len(values)}f", *values)))


def _model(graph: bytes) -> bytes:
    return _int(1, 8) + _bytes(8, _bytes(1, "") + _int(2, 13)) + _bytes(7, graph + _bytes(2, "graph"))


def linear(rows: int | str = "batch", weights: Sequence[float] = (1, 10, 100, 1000)) -> bytes:
    """`score` [rows, 1] = `x` [rows, n] times the weights."""
    width = len(weights)
    nodes = _node("MatMul", ["x", "w"], ["score"])
    return _model(
        nodes + _tensor("w", [width, 1], weights) + _value(11, "x", [rows, width]) + _value(12, "score", [rows, 1])
    )


def columns() -> bytes:
    """`sum` = `a` + `b` and `product` = `a` * `b`, all [batch, 1]."""
    nodes = _node("Add", ["a", "b"], ["sum"]) + _node("Mul", ["a", "b"], ["product"])
    shape: Shape = ["batch", 1]
    return _model(
        nodes
        + b"".join(_value(11, name, shape) for name in "ab")
        + b"".join(_value(12, name, shape) for name in ("sum", "product"))
    )


def mixed() -> bytes:
    """`number` and `word`, [batch, 1] of float and string, as `same` and `said`."""
    nodes = _node("Identity", ["number"], ["same"]) + _node("Identity", ["word"], ["said"])
    kinds = (FLOAT, STRING)
    inputs = b"".join(
        _value(11, name, ["batch", 1], kind) for name, kind in zip(("number", "word"), kinds, strict=True)
    )
    outputs = b"".join(_value(12, name, ["batch", 1], kind) for name, kind in zip(("same", "said"), kinds, strict=True))
    return _model(nodes + inputs + outputs)
