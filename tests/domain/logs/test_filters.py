"""Filter patterns; most cases are those of the CloudWatch Logs user guide."""

from __future__ import annotations

import time

import pytest

from clary.domain.errors import Invalid
from clary.domain.logs.filters import compile_pattern

LINE = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /apache_pb.gif HTTP/1.0" 200 1534'
EVENT = (
    '{"eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111", "arrayKey": ["value", "another value"],'
    ' "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}], "SomeObject": null, "ThisFlag": true,'
    ' "latency": 5.5, "code": "404", "nested": {"a.b": 1, "deep": [[1, 2], [3]]}}'
)


@pytest.mark.parametrize(
    ("pattern", "message", "wanted"),
    [
        ("", "anything", True),
        ("  ", "anything", True),
        ("ERROR", "[ERROR] x", True),
        ("ERROR", "[error] x", False),
        ("ERROR ARGUMENTS", "ERROR INVALID ARGUMENTS", True),
        ("ERROR ARGUMENTS", "ERROR INVALID", False),
        ("?ERROR ?WARN", "WARN x", True),
        ("?ERROR ?WARN", "INFO x", False),
        ("?ERROR ARGUMENTS", "ARGUMENTS", True),
        ("ERROR -ARGUMENTS", "ERROR ARGUMENTS", False),
        ("ERROR -ARGUMENTS", "ERROR x", True),
        ("-ERROR", "x", True),
        ('"INTERNAL SERVER ERROR"', "an INTERNAL SERVER ERROR here", True),
        ('"INTERNAL SERVER ERROR"', "INTERNAL ERROR", False),
        ('-"a b" c', "c a b", False),
        (r'"a \"b\" c"', 'x a "b" c', True),
        ("%auth.*fail%", "auth did fail", True),
        ("%auth.*fail% -x", "auth did fail x", False),
        ("-%^a%", "ba", True),
        ("[ip, user, username, timestamp, request, status_code, bytes]", LINE, True),
        ("[ip, user]", LINE, False),
        ("[..., status_code = 200, bytes]", LINE, True),
        ("[..., status_code = 4*, bytes]", LINE, False),
        ("[ip = 127.0.*, ..., bytes > 1000]", LINE, True),
        ("[ip, ..., status = 2*, bytes >= 1535]", LINE, False),
        ("[ip, u, user, ts, request = *html*, status, bytes]", LINE, False),
        ('[ip, u, user, ts = "10/Oct*", request = GET*, status != 5*, bytes]', LINE, True),
        ("[ip, u, user, ts, request, status = 200 || status = 404, bytes]", LINE, True),
        ("[ip, u, user, ts, request, status = 2* && status != 200, bytes]", LINE, False),
        ("[w1 = ERROR, w2]", "ERROR x", True),
        ("[ip, ..., request = %gif%, status, bytes]", LINE, True),
        ('{ $.eventType = "UpdateTrail" }', EVENT, True),
        ("{ $.eventType = UpdateTrail }", EVENT, True),
        ('{ $.eventType = "Update*" }', EVENT, True),
        ('{ $.eventType != "UpdateTrail" }', EVENT, False),
        ('{ $.eventType = "UpdateTrail" }', "no json", False),
        ("{ $.sourceIPAddress = 111.111.* }", EVENT, True),
        ('{ $.sourceIPAddress != "123.123.*" }', EVENT, True),
        ('{ $.arrayKey[0] = "value" }', EVENT, True),
        ('{ $.arrayKey[1] = "value" }', EVENT, False),
        ('{ $.arrayKey[*] = "another value" }', EVENT, True),
        ("{ $.objectList[1].id = 2 }", EVENT, True),
        ("{ $.objectList[*].id > 1 }", EVENT, True),
        ("{ $.SomeObject IS NULL }", EVENT, True),
        ("{ $.SomeOtherObject NOT EXISTS }", EVENT, True),
        ("{ $.SomeObject NOT EXISTS }", EVENT, False),
        ("{ $.ThisFlag IS TRUE }", EVENT, True),
        ("{ $.ThisFlag IS FALSE }", EVENT, False),
        ("{ $.latency > 5 }", EVENT, True),
        ("{ $.latency <= 5.5e0 }", EVENT, True),
        ("{ $.latency = 5.5 && $.code = 404 }", EVENT, True),
        ("{ $.latency > 9 || ($.code >= 400 && $.code < 500) }", EVENT, True),
        ("{ ($.latency > 9 || $.code >= 400) && $.code < 400 }", EVENT, False),
        ("{ $.eventType = %^Update% }", EVENT, True),
        ("{ $.nested['a.b'] = 1 }", EVENT, True),
        ("{ $.nested.deep[0][1] = 2 }", EVENT, True),
        ("{ $.missing = 1 }", EVENT, False),
        ("{ $.missing != 1 }", EVENT, False),
        ("{ $.a = 1 }", '{"a": 1', False),
        ("{ $.a = 1 }", '{"a":' + "[" * 100_000, False),
    ],
)
def test_patterns(pattern: str, message: str, wanted: bool) -> None:
    assert compile_pattern(pattern)(message) is wanted


@pytest.mark.parametrize(
    "pattern",
    [
        "{", "{}", "{ $.a }", "{ $.a = }", "{ $.a = 1", "{ a = 1 }", "{ $.a > x }", "{ $.a = 1 && }", "{ ($.a = 1 }",
        "{ $.a IS 1 }", "{ $.a NOT 1 }", "{ $.a = 1 } x", "[", "[]", "[a", "[a,]", "[..., a, ...]", "[a = ]", '"open',
        "%(%", "{ $.a = %(% }", "{ " + "(" * 50 + "$.a = 1" + ")" * 50 + " }", '"a"b', "[a b]",
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(Invalid):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["%(a+)+$%", "{ $.x = %(a+)+$% }", '{ $.x = "*a*a*a*a*a*a*a*a*b" }', "[x = *a*a*a*a*b]"]
)
def test_no_pattern_hangs(pattern: str) -> None:
    matches = compile_pattern(pattern)
    begin = time.perf_counter()
    for message in ("a" * 100_000 + "!", '{"x": "' + "a" * 100_000 + '!"}'):
        matches(message)
    assert time.perf_counter() - begin < 2
