from __future__ import annotations

from clary.domain.jobs.failures import LIMIT, algorithm_error, client_error, fitted

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


QUIET = """\
++ cd /opt/ml/input/data/code
Running Basic Script driver
++ /env/bin/python3 /opt/ml/input/data/sm_drivers/distributed_drivers/basic_script_driver.py
Executing command: /env/bin/python3 train.py --lr 1
Command failed with exit code -11. Traceback: Traceback (most recent call last):
""".splitlines()
ENDED = """Traceback (most recent call last):
  File "/opt/ml/input/data/sm_drivers/common/utils.py", line 193, in execute_commands
subprocess.CalledProcessError: Command '['/env/bin/python3', 'train.py']' {}"""


def test_what_the_drivers_say_of_themselves_is_no_reason() -> None:
    crashed = algorithm_error(245, ENDED.format("died with <Signals.SIGSEGV: 11>."), QUIET)
    assert crashed == "AlgorithmError: The command python3 train.py --lr 1 was ended by SIGSEGV, exit code: 245"
    silent = algorithm_error(9, ENDED.format("returned non-zero exit status 9."), QUIET)
    assert silent == "AlgorithmError: The command python3 train.py --lr 1 failed and said nothing, exit code: 9"
    spoke = algorithm_error(9, ENDED.format("returned non-zero exit status 9."), [*QUIET[:-1], "no rows", QUIET[-1]])
    assert spoke == "AlgorithmError: no rows, exit code: 9"


CONFIGURATION = """\
/opt/ml/input/config/resourceconfig.json:
{{"current_host": "algo-1", "instance_groups": [{{"hosts": ["{0}"]}}]}}
++ echo
Setting up environment variables
++ /env/bin/python3 /opt/ml/input/data/sm_drivers/scripts/environment.py
No GPUs detected (normal if no gpus installed)
Environment Variables:
SM_MODEL_DIR=/opt/ml/model
SM_RESOURCE_CONFIG={{"current_host": "algo-1", "instance_groups": [{{"hosts": ["{0}"]}}]}}
SM_MASTER_PORT=7777
++ set +x
""".format("algo-1" * 300).splitlines()


def test_what_sdk_v3_shows_of_the_configuration_is_no_reason() -> None:
    """A kilobyte of SM_RESOURCE_CONFIG stood before the cause."""
    command = ["Executing command: ./prepare || exit 3", "++ eval './prepare || exit 3'", "+++ ./prepare"]
    said = [*CONFIGURATION, *command, "prepare: no rows in train.csv", "+++ exit 3"]
    assert algorithm_error(3, "", said) == "AlgorithmError: prepare: no rows in train.csv, exit code: 3"
    before = [*CONFIGURATION, "/opt/ml/input/data/sm_drivers/sm_train.sh: line 61: cd: code: No such file or directory"]
    assert "No such file" in algorithm_error(1, "", before)
    assert "RESOURCE_CONFIG" not in algorithm_error(1, "", before)
    silent = algorithm_error(3, "", [*CONFIGURATION, *command, "+++ exit 3"])
    assert silent == "AlgorithmError: The training container failed and wrote no /opt/ml/output/failure, exit code: 3"


def test_a_line_without_end_is_cut() -> None:
    assert algorithm_error(1, "", ["{" * 5000, "no rows"]) == f"AlgorithmError: {'{' * 246} ...\nno rows, exit code: 1"


def test_where_the_drivers_point_to_the_logs_the_logs_are_read() -> None:
    generic = "Training Execution failed. For more details, see CloudWatch logs at 'aws/sagemaker/TrainingJobs'.\nTrainingJob - j"
    end = ["+++ handle_error", "+++ exit 1"]
    missing = [
        "Looking in links: x",
        "ERROR: No matching distribution found for x==1",
        "Traceback (most recent call last):",
    ]
    pip = [*missing, "subprocess.CalledProcessError: Command '[]' returned non-zero exit status 1.", *end]
    assert (
        algorithm_error(1, generic, pip)
        == "AlgorithmError: ERROR: No matching distribution found for x==1, exit code: 1"
    )
    torch = [
        "Traceback (most recent call last):",
        "    import torch",
        "ModuleNotFoundError: No module named 'torch'",
        *end,
    ]
    assert algorithm_error(1, generic, torch).startswith(
        "AlgorithmError: ModuleNotFoundError: No module named 'torch'\n"
    )
    assert algorithm_error(1, generic, []).startswith("AlgorithmError: Training Execution failed.")
