from __future__ import annotations

from clary.domain.failures import LIMIT, algorithm_error, client_error, fitted

TRACE = """\
[3]#011train-rmse:1
Traceback (most recent call last):
  File "train.py", line 9, in <module>
    main()
  File "train.py", line 5, in main
    booster.update()
xgboost.core.XGBoostError: label must be in [0,1]
Stack trace:
  [bt] (0) libxgboost.so(+0x1) [0x7f]
  [bt] (1) libxgboost.so(+0x2) [0x7f]
""".splitlines()


def test_the_failure_file_is_the_reason() -> None:
    assert algorithm_error(1, " went wrong \n", TRACE) == "AlgorithmError: went wrong, exit code: 1"


def test_without_one_the_exception_is_found_above_the_stack_trace() -> None:
    reason = algorithm_error(1, "", TRACE)
    assert reason.startswith("AlgorithmError: xgboost.core.XGBoostError: label must be in [0,1]\n")
    assert '  File "train.py", line 5, in main' in reason
    assert "[bt]" not in reason
    assert reason.endswith(", exit code: 1")


def test_without_a_traceback_the_last_lines_are_the_reason() -> None:
    assert algorithm_error(2, "", ["a", "", "b"]) == "AlgorithmError: a\nb, exit code: 2"
    assert "ended by signal 9" in algorithm_error(137, "", [])


def test_a_reason_never_passes_aws_limit_and_keeps_both_ends() -> None:
    reason = algorithm_error(7, "begin" + "x" * 5000 + "end", [])
    assert len(reason) == LIMIT
    assert reason.startswith("AlgorithmError: begin")
    assert reason.endswith("end, exit code: 7")
    assert len(fitted("p", "y" * 1022, "s")) == LIMIT


def test_prefixes_are_not_doubled() -> None:
    assert client_error("ClientError: no") == "ClientError: no"
    assert client_error("no") == "ClientError: no"


DRIVER = """\
Executing command: python3 bad.py
Traceback (most recent call last):
File "/opt/ml/input/data/code/bad.py", line 3, in <module>
learn()
ValueError: the labels are strings
Command failed with exit code 1. Traceback: Traceback (most recent call last):
  File "/opt/ml/input/data/sm_drivers/common/utils.py", line 193, in execute_commands
    raise subprocess.CalledProcessError(exitcode, commands)
subprocess.CalledProcessError: Command '['python3', 'bad.py']' returned non-zero exit status 1.

+++ handle_error
+++ exit 1
""".splitlines()


def test_the_drivers_of_sdk_v3_speak_of_themselves_only_so_the_users_traceback_is_told() -> None:
    reason = algorithm_error(1, "\n".join(DRIVER[6:9]), DRIVER)
    assert reason.startswith("AlgorithmError: ValueError: the labels are strings\n")
    assert 'File "/opt/ml/input/data/code/bad.py", line 3, in <module>' in reason
    assert "CalledProcessError" not in reason
    assert "CalledProcessError" in algorithm_error(1, "\n".join(DRIVER[6:9]), [])
