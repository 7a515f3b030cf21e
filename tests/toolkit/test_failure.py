"""The text of a failure: the line with the exception comes first and the user's own frames survive the 1,024 characters."""

from __future__ import annotations

import pytest

from clary.toolkit import failure

PYTHON = """some log line
Traceback (most recent call last):
  File "/opt/ml/code/train.py", line 12, in <module>
    main()
  File "/opt/ml/code/train.py", line 8, in main
    raise ValueError("bad data in column 3")
ValueError: bad data in column 3
"""
XGBOOST = """Traceback (most recent call last):
  File "/opt/ml/code/train.py", line 3, in <module>
    xgb.train({}, d)
  File "/env/lib/xgboost/core.py", line 10, in train
    _check_call(1)
xgboost.core.XGBoostError: [10:00:00] /workspace/src/x.cc:12: Check failed: label must be in [0,1]
Stack trace:
  [bt] (0) /env/lib/libxgboost.so(+0x1) [0x7f]
  [bt] (1) /env/lib/libxgboost.so(+0x2) [0x7f]
"""


def test_script_failure_in_the_toolkits_form() -> None:
    text = failure.script_failure(1, PYTHON, "python train.py --lr 1")
    assert text.startswith('ExecuteUserScriptError:\nExitCode 1\nErrorMessage "ValueError: bad data in column 3\n')
    assert 'line 8, in main\n    raise ValueError("bad data in column 3")"\nCommand "python train.py --lr 1"' in text


def test_a_cpp_stack_trace_does_not_hide_the_error() -> None:
    text = failure.essence(XGBOOST, 900)
    assert text.startswith(
        "xgboost.core.XGBoostError: [10:00:00] /workspace/src/x.cc:12: Check failed: label must be in [0,1]\n"
    )
    assert "[bt]" not in text


def test_the_last_of_chained_exceptions() -> None:
    chained = (
        PYTHON
        + "\nDuring handling of the above exception, another exception occurred:\n\n"
        + PYTHON.replace("ValueError", "OSError")
    )
    assert failure.essence(chained, 500).startswith("OSError: bad data")


def test_messages_of_several_lines() -> None:
    text = failure.essence('Traceback (most recent call last):\n  File "a.py", line 1\nmy.Error: one\ntwo\n', 500)
    assert text.startswith("my.Error: one\ntwo\nTraceback")


def test_without_a_traceback_the_last_lines() -> None:
    assert failure.essence("one\n\ntwo\nthree\n", 10) == "two\nthree"
    assert failure.essence("", 10) == ""


def test_a_crash_without_words_names_its_signal() -> None:
    assert 'ErrorMessage "The script was ended by SIGSEGV"' in failure.script_failure(139, "\n", "python train.py")
    assert 'ErrorMessage ""' in failure.script_failure(3, "", "python train.py")
    assert 'ErrorMessage ""' in failure.script_failure(128 + 100, "", "python train.py")  # no signal has that number


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("OSError: [Errno 27] File too large", "VolumeSizeInGB"),
        ("OSError: [Errno 28] No space left on device", "VolumeSizeInGB"),
        ("Failed to load csv data of file 't' with exception: could not convert string to float: 'label'", "no header"),
        ("ModuleNotFoundError: No module named 'a.b'", "no module 'a.b'"),
        ("ValueError: could not convert string to float: 'x'", ""),
    ],
)
def test_what_everybody_meets_has_a_hint(text: str, words: str) -> None:
    hint = failure.advice(text)
    assert bool(hint) == bool(words)
    assert words in hint


def test_always_within_the_limit() -> None:
    deep = (
        "Traceback (most recent call last):\n"
        + '  File "x.py", line 1, in f\n    f()\n' * 900
        + "RecursionError: "
        + "d" * 9000
    )
    text = failure.script_failure(137, deep, "c" * 5000)
    assert len(text) <= failure.LIMIT
    assert 'ErrorMessage "RecursionError: ddd' in text


def test_own_frames_are_left_out() -> None:
    try:
        raise KeyError("k")
    except KeyError as error:
        kept = failure.user_traceback(type(error), error, error.__traceback__, "/somewhere/else")
        dropped = failure.user_traceback(type(error), error, error.__traceback__, __file__)
    assert "test_failure.py" in kept
    assert "test_failure.py" not in dropped
    assert dropped.rstrip().endswith("KeyError: 'k'")
