"""The commands that need no server, and the pure parts of the others."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest

from clary.app.cli import environment, listing, live, output, shadow, top
from clary.app.cli.client import ApiFailure
from clary.app.cli.environment import sdk_config, unset, with_section
from clary.app.cli.listing import SECRET
from clary.app.cli.logs import LogPlace, ShownEvents, begin_of, places, words
from clary.app.cli.output import CommandRefused
from clary.app.cli.shell import METADATA, options
from clary.app.settings import Settings, load
from clary.domain.endpoints.routes import EndpointView, ReplicaView, ShadowSample, ShadowView, VariantView
from clary.domain.jobs import life
from clary.domain.jobs.kinds import JOB_KINDS


def clary(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLARY_", "AWS_"))}
    argv = [sys.executable, "-c", "from clary.app.cli import main; main()", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env={**kept, **variables})


# -- the whole command -------------------------------------------------------------------------------------------------------------


def test_help_is_quick_because_nothing_is_imported() -> None:
    code = (
        "import sys\nfrom clary.app.cli.commands import app\n"
        "print([m for m in ('botocore', 'boto3', 'sqlalchemy', 'asyncio', 'rich', 'orjson', 'http', 'ssl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
    status = "from clary.app.cli import listing\n" + code
    done = subprocess.run([sys.executable, "-c", status], capture_output=True, text=True, timeout=60, check=True)
    for name in ("botocore", "sqlalchemy", "asyncio", "rich"):
        assert name not in done.stdout
    inner = (
        "import sys\nfrom clary.app.cli import listing\n"
        "print([m for m in sys.modules if m.startswith(('clary.domain.scaling', 'clary.domain.autoscaling.record', 'clary.loops'))])"
    )
    done = subprocess.run([sys.executable, "-c", inner], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_a_command_line_is_quick_too(tmp_path: Path) -> None:
    """Typer has a model of each parameter built from 0.29 on: it doubles the time of `clary status` (measured)."""
    argv = [sys.executable, "-X", "importtime", "-m", "clary.app.cli", "status", "--dir", str(tmp_path / "none")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == output.NOT_RUNNING
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "clary.app.cli.listing" in loaded
    assert loaded & {"pydantic", "botocore", "sqlalchemy", "rich"} == set()


def test_help_names_every_command() -> None:
    done = clary("--help")
    assert done.returncode == 0
    for name in [
        "up",
        "down",
        "status",
        "env",
        "shell",
        "doctor",
        "logs",
        "ps",
        "top",
        "capacity",
        "rollout",
        "history",
        "pipeline",
        "lineage",
        "why",
        "export",
        "rerun",
        "config",
        "demo",
        "completion",
        "runtime",
    ]:
        assert f"  {name} " in done.stdout
        assert clary(name, "--help").returncode == 0


def test_every_command_has_json() -> None:
    for command in (
        ("config",),
        ("env",),
        ("runtime", "list"),
        ("runtime", "build"),
        ("runtime", "add"),
        ("runtime", "remove"),
        ("up",),
        ("down",),
        ("logs",),
        ("top",),
    ):
        assert "--json" in clary(*command, "--help").stdout


@pytest.mark.parametrize(
    "command", [["status"], ["ps"], ["top"], ["capacity"], ["logs", "x"], ["shell", "true"], ["down"], ["env"]]
)
def test_a_command_that_needs_a_clary_says_so(tmp_path: Path, command: list[str]) -> None:
    done = clary(command[0], "--dir", str(tmp_path / "none"), *command[1:])
    assert done.returncode == output.NOT_RUNNING
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("clary: ")
    if command != ["down"]:
        assert f"`clary up --detach --dir {tmp_path / 'none'}`" in line
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sttaus"], "no such command 'sttaus'. Did you mean 'status'? (`clary --help` tells more)"),
        (["logs"], "missing argument 'resource' (`clary logs --help` tells more)"),
        (["runtime", "foo"], "no such command 'foo' (`clary runtime --help` tells more)"),
        (["up", "--port", "99999"], "--port is from 0 to 65535, not 99999"),
        (["env", "--region", "a b", "--dir", "{state}"], "--region takes a name such as eu-west-1, not 'a b'"),
    ],
)
def test_wrong_usage_is_told_in_one_line(tmp_path: Path, words: list[str], told: str) -> None:
    done = clary(*(word.format(state=started(tmp_path)) for word in words), CLARY_DIR=str(tmp_path / "none"))
    assert (done.returncode, done.stdout, done.stderr) == (output.USAGE, "", f"clary: {told}\n")


def test_a_command_of_commands_shows_its_help() -> None:
    for command in ([], ["runtime"]):
        done = clary(*command)
        assert (done.returncode, "Usage: " in done.stdout + done.stderr) == (output.USAGE, True)
    assert clary("--version").stdout.startswith("clary 0.")


def test_an_interrupted_command_ends_with_130(tmp_path: Path) -> None:
    code = "from clary.app.cli import commands, listing, main\ndef no(*a, **k): raise KeyboardInterrupt\nlisting.config = no\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code, "config"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    early = "import sys\nfrom clary.app.cli import main\nclass No:\n def find_spec(*a): raise KeyboardInterrupt\n"
    early += "sys.meta_path.insert(0, No)\nmain()"
    done = subprocess.run([sys.executable, "-c", early], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_wrong_usage_and_bad_settings(tmp_path: Path) -> None:
    assert clary("nonsense").returncode == output.USAGE
    assert clary("completion", "fish").returncode == output.USAGE
    done = clary("config", "--dir", str(tmp_path), CLARY_PORT="x")
    assert done.returncode == output.FAILED
    assert done.stderr == "clary: CLARY_PORT takes a whole number, 0 or more, not 'x'\n"


@pytest.mark.parametrize("command", [["config"], ["config", "--json"], ["completion", "bash"]])
def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path, command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-c", "from clary.app.cli import main; main()", *command]
    kept = {**os.environ, "CLARY_DIR": str(tmp_path)}
    done = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE, env=kept, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_without_unicode_gets_escapes(tmp_path: Path) -> None:
    (tmp_path / "clary.toml").write_text('bucket = "d\u00e9p\u00f4t"\n')
    done = clary("config", "--dir", str(tmp_path), "--json", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert {row["name"]: row["value"] for row in json.loads(done.stdout)}["bucket"] == "d\u00e9p\u00f4t"
    assert '"d\\u00e9p\\u00f4t"' in clary("config", "--dir", str(tmp_path), PYTHONIOENCODING="ascii").stdout
    assert "no Clary runs on /d\\xe9" in clary("status", "--dir", "/d\u00e9", PYTHONIOENCODING="ascii").stderr


def test_status_as_json_without_a_clary(tmp_path: Path) -> None:
    done = clary("status", "--json", "--dir", str(tmp_path))
    assert (done.returncode, json.loads(done.stdout)["running"]) == (output.NOT_RUNNING, False)


def test_down_as_json_without_a_clary(tmp_path: Path) -> None:
    done = clary("down", "--json", "--dir", str(tmp_path))
    assert (done.returncode, json.loads(done.stdout)["ended"]) == (output.NOT_RUNNING, False)


def test_env_for_a_clary_that_does_not_run_says_so(tmp_path: Path) -> None:
    done = clary("env", "--dir", started(tmp_path))
    assert done.returncode == 0
    assert done.stderr.startswith("clary: no Clary runs on ")


def test_config_tells_where_a_setting_comes_from(tmp_path: Path) -> None:
    (tmp_path / "clary.toml").write_text('region = "eu-west-1"\ns3_secret_key = "hidden"\n')
    done = clary("config", "--dir", str(tmp_path), "--json", CLARY_PORT="4700")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert (rows["port"]["value"], rows["port"]["source"]) == (4700, "CLARY_PORT")
    assert rows["region"]["value"] == "eu-west-1"
    assert rows["region"]["source"].endswith("clary.toml")
    assert rows["host"]["source"] == "default"
    assert "hidden" not in done.stdout
    assert "hidden" not in clary("config", "--dir", str(tmp_path)).stdout
    assert {"s3_secret_key"} <= SECRET


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell: str) -> None:
    done = clary("completion", shell)
    assert done.returncode == 0
    assert "_CLARY_COMPLETE" in done.stdout
    assert json.loads(clary("completion", shell, "--json").stdout)["shell"] == shell


def test_completion_knows_commands_options_and_values() -> None:
    for line, wanted in (
        ("clary sta", "status"),
        ("clary up --de", "--detach"),
        ("clary runtime b", "build"),
        ("clary export --as t", "terraform"),
        ("clary completion z", "zsh"),
    ):
        words = {"COMP_WORDS": "\n".join(line.split()), "COMP_CWORD": str(line.count(" "))}
        assert clary(_CLARY_COMPLETE="complete_bash", **words).stdout.split() == [wanted]


# -- env ---------------------------------------------------------------------------------------------------------------------------


def started(tmp_path: Path) -> str:
    (tmp_path / "state" / "keys").mkdir(parents=True, exist_ok=True)
    return str(tmp_path / "state")


def test_env_prints_what_a_shell_evaluates(tmp_path: Path) -> None:
    folder = started(tmp_path)
    script = clary("env", "--dir", folder, "--region", "eu-west-1", NO_PROXY="intern.example").stdout
    names = [
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "NO_PROXY",
    ]
    show = "; ".join(f'echo "${name}"' for name in [*names, "SAGEMAKER_USER_CONFIG_OVERRIDE", "AWS_SESSION_TOKEN"])
    done = subprocess.run(
        ["/bin/sh", "-c", f"{script}\n{show}"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "AWS_SESSION_TOKEN": "old"},
    )
    url, key, secret, region, default, direct, config, token = done.stdout.splitlines() + [""] * (
        8 - len(done.stdout.splitlines())
    )
    assert (url, region, default, token) == ("http://127.0.0.1:4600", "eu-west-1", "eu-west-1", "")
    assert key.startswith("AKIA")
    assert len(secret) == 40
    assert direct == "intern.example,127.0.0.1,localhost"
    settings = json.loads(Path(config).read_text())["SageMaker"]
    assert settings["PythonSDK"]["Modules"] == {
        "TelemetryOptOut": True,
        "Session": {"DefaultS3Bucket": "sagemaker-eu-west-1-000000000000"},
        "RemoteFunction": {
            "ImageUri": "000000000000.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-base-python:1.0",
            "InstanceType": "ml.m5.large",
            "RoleArn": "arn:aws:iam::000000000000:role/ClaryDefaultRole",
        },
    }
    assert settings["TrainingJob"]["RoleArn"] == "arn:aws:iam::000000000000:role/ClaryDefaultRole"


def test_env_in_other_forms(tmp_path: Path) -> None:
    folder = started(tmp_path)
    values = json.loads(clary("env", "--dir", folder, "--json").stdout)
    assert values["AWS_REGION"] == "us-east-1"
    assert "AWS_CA_BUNDLE" not in values
    lines = clary("env", "--dir", folder, "--ipython", AWS_PROFILE="work").stdout.splitlines()
    assert "%env AWS_PROFILE=" in lines
    assert f"%env AWS_ACCESS_KEY_ID={values['AWS_ACCESS_KEY_ID']}" in lines


def test_a_region_is_a_name_and_no_path(tmp_path: Path) -> None:
    done = clary("env", "--dir", started(tmp_path), "--region", "../../elsewhere")
    assert (done.returncode, done.stdout) == (output.USAGE, "")
    assert done.stderr == "clary: --region takes a name such as eu-west-1, not '../../elsewhere'\n"


def test_env_names_the_state_folder_so_that_commands_in_that_shell_find_it(tmp_path: Path) -> None:
    folder = started(tmp_path)
    script = clary("env", "--dir", folder).stdout
    assert f"export CLARY_DIR={folder}" in script.splitlines()
    there = clary("config", "--json", CLARY_DIR=folder).stdout
    assert {row["name"]: row["value"] for row in json.loads(there)}["dir"] == folder


def test_env_and_prometheus_print_the_public_url(tmp_path: Path) -> None:
    folder = started(tmp_path)
    variables = {"CLARY_PUBLIC_URL": "https://ml.example.org"}
    values = json.loads(clary("env", "--dir", folder, "--json", **variables).stdout)
    assert values["AWS_ENDPOINT_URL"] == "https://ml.example.org"
    assert values["NO_PROXY"] == "ml.example.org,127.0.0.1,localhost"
    (scraped,) = json.loads(clary("prometheus", "--dir", folder, "--json", **variables).stdout)["scrape_configs"]
    assert (scraped["scheme"], scraped["static_configs"]) == ("https", [{"targets": ["ml.example.org"]}])
    own = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    assert clary("env", "--dir", folder, "--profile", "p", **variables, **own).returncode == 0
    assert "endpoint_url = https://ml.example.org\n" in (tmp_path / "config").read_text()


def test_env_with_tls_names_the_certificate(tmp_path: Path) -> None:
    folder = started(tmp_path)
    variables = {"CLARY_TLS_CERT": "/x/cert.pem", "CLARY_TLS_KEY": "/x/key.pem"}
    values = json.loads(clary("env", "--dir", folder, "--json", **variables).stdout)
    assert values["AWS_CA_BUNDLE"] == "/x/cert.pem"
    assert values["AWS_ENDPOINT_URL"] == "https://127.0.0.1:4600"


def test_a_profile_is_written_beside_others(tmp_path: Path) -> None:
    folder = started(tmp_path)
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "config").write_text("# mine\n[profile other]\nregion = eu-central-1\n")
    for _ in range(2):
        done = clary("env", "--dir", folder, "--profile", "local", "--json", HOME=str(home))
        assert done.returncode == 0, done.stderr
    config, credentials = (configparser.ConfigParser() for _ in range(2))
    config.read(home / ".aws" / "config")
    credentials.read(home / ".aws" / "credentials")
    assert dict(config["profile local"]) == {"region": "us-east-1", "endpoint_url": "http://127.0.0.1:4600"}
    assert config["profile other"]["region"] == "eu-central-1"
    assert (home / ".aws" / "config").read_text().startswith("# mine\n")
    assert credentials["local"]["aws_access_key_id"].startswith("AKIA")
    assert (home / ".aws" / "credentials").stat().st_mode & 0o777 == 0o600
    assert clary("env", "--dir", folder, "--profile", "a]\n[b", HOME=str(home)).returncode == output.USAGE


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "[s]\na = 1\n"),
        ("[t]\nb = 2", "[t]\nb = 2\n\n[s]\na = 1\n"),
        ("[s]\nold = 1\n# c\n[t]\nb = 2\n", "[s]\na = 1\n\n[t]\nb = 2\n"),
        ("[t]\nb = 2\n[ s ]\nold = 1\n", "[t]\nb = 2\n[s]\na = 1\n"),
        ("[ss]\nb = 2\n", "[ss]\nb = 2\n\n[s]\na = 1\n"),
    ],
)
def test_sections(text: str, wanted: str) -> None:
    assert with_section(text, "s", {"a": "1"}) == wanted
    assert with_section(wanted, "s", {"a": "1"}) == wanted


def test_small_parts_of_env(tmp_path: Path) -> None:
    settings = load({"dir": str(tmp_path)}, {})
    assert unset({"AWS_ENDPOINT_URL_S3": "x", "AWS_REGION": "y", "AWS_PROFILE": "z"}) == [
        "AWS_ENDPOINT_URL_S3",
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
    ]
    assert json.loads(sdk_config(settings, "eu-west-1"))["SchemaVersion"] == "1.0"
    assert environment.ALWAYS_UNSET


def test_switches_that_botocore_refuses_an_endpoint_for_are_unset(tmp_path: Path) -> None:
    """A client ignores AWS_ENDPOINT_URL with the first, and refuses it with FIPS; an old expiry makes fresh keys expired ones."""
    switches = {
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z",
    }
    script = clary("env", "--dir", started(tmp_path), **switches).stdout
    shown = subprocess.run(
        ["/bin/sh", "-c", f"{script}\nenv"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], **switches},
    ).stdout
    assert [name for name in switches if f"{name}=" in shown] == []
    assert "AWS_ENDPOINT_URL=" in shown


def test_hosts_of_both_spellings_of_no_proxy_stay(tmp_path: Path) -> None:
    given = {"NO_PROXY": "upper.example", "no_proxy": "lower.example"}
    values = json.loads(clary("env", "--json", "--dir", started(tmp_path), **given).stdout)
    assert values["NO_PROXY"] == values["no_proxy"] == "upper.example,lower.example,127.0.0.1,localhost"


# -- shell, logs, top, output ------------------------------------------------------------------------------------------------------


def test_the_shell_s_root_is_the_host_s_but_for_the_metadata() -> None:
    root = [("/bin", "usr/bin"), ("/opt", ""), ("/usr", "")]
    opt = [("/opt/conda", ""), ("/opt/ml", "")]
    ml = [("/opt/ml/metadata", ""), ("/opt/ml/model", "")]
    argv = options(root, opt, ml, "/usr", 7)
    assert argv == [
        "--tmpfs", "/", "--symlink", "usr/bin", "/bin", "--dev-bind", "/usr", "/usr", "--dev-bind", "/opt/conda", "/opt/conda",
        "--dev-bind", "/opt/ml/model", "/opt/ml/model", "--dir", "/opt/ml/metadata", "--ro-bind-data", "7", METADATA,
        "--chdir", "/usr",
    ]  # fmt: skip


class FakeClient:
    """Answers by operation; a missing one is an ApiFailure."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def call(self, service: str, operation: str, params: Any = None) -> Any:
        from clary.app.cli.client import ApiFailure

        if operation not in self.answers:
            raise ApiFailure(operation, "ValidationException", "Requested resource not found.")
        return self.answers[operation]

    def pages(self, service: str, operation: str, key: str, params: Any = None) -> Any:
        return self.answers.get(operation, [])


TRAINED = LogPlace("/aws/sagemaker/TrainingJobs", "j/", "j")
PROCESSED = LogPlace("/aws/sagemaker/ProcessingJobs", "p/", "p", "processing-job")
SERVED = LogPlace("/aws/sagemaker/Endpoints/e")
JOB = {"DescribeTrainingJob": {"TrainingJobName": "j"}}
GROUP = {
    "DescribeLogGroups": [
        {"logGroupName": "/aws/sagemaker/Endpoints/e"},
        {"logGroupName": "/aws/sagemaker/Endpoints/ee"},
    ]
}
PLACED = {"DescribeLogGroups": [{"logGroupName": "/aws/sagemaker/InferenceComponents/c"}]}


@pytest.mark.parametrize(
    ("answers", "resource", "wanted"),
    [
        ({"DescribeLogGroups": [{"logGroupName": "/my/group"}]}, "/my/group", [LogPlace("/my/group")]),
        (JOB, "j", [TRAINED]),
        (JOB, "arn:aws:sagemaker:us-east-1:000000000000:training-job/j", [TRAINED]),
        (GROUP, "e", [SERVED]),
        (GROUP | JOB, "training-job/e", [TRAINED]),
        ({"DescribeProcessingJob": {"ProcessingJobName": "p"}} | JOB, "processing-job/p", [PROCESSED]),
        (GROUP | JOB, "endpoint/e", [SERVED]),
        (GROUP | JOB, "e", [SERVED, TRAINED]),
        ({"DescribeEndpoint": {}}, "arn:aws:sagemaker:r:a:endpoint/e", [SERVED]),
        (PLACED, "c", [LogPlace("/aws/sagemaker/InferenceComponents/c")]),
        (PLACED, "inference-component/c", [LogPlace("/aws/sagemaker/InferenceComponents/c")]),
    ],
)
def test_a_resource_s_log_is_found(answers: Any, resource: str, wanted: object) -> None:
    client: Any = FakeClient(**answers)
    assert places(client, resource) == wanted


def test_no_such_log_group() -> None:
    client: Any = FakeClient(**GROUP)
    assert places(client, "/aws/sagemaker/Endpoints/e") == [LogPlace("/aws/sagemaker/Endpoints/e")]
    with pytest.raises(CommandRefused, match="no log group"):
        places(client, "/aws/sagemaker/Endpoints/f")


def test_no_such_resource() -> None:
    client: Any = FakeClient()
    with pytest.raises(CommandRefused) as caught:
        places(client, "nothing")
    assert caught.value.code == output.NOT_FOUND


def test_an_endpoint_that_went_while_it_was_listed_is_none() -> None:
    client: Any = FakeClient(ListEndpoints=[{"EndpointName": "gone"}])
    assert list(listing.described(client)) == []


def test_ps_tells_which_jobs_wait_or_are_slowed() -> None:
    said = {
        "waits": ("Pending", "Waiting for capacity: 2 of 2 places for hosts are in use, 1 needed"),
        "slow": ("Training", JOB_KINDS["training-job"].running + life.SLOWED),
        "runs": ("Training", JOB_KINDS["training-job"].running),
    }

    class Told:
        def call(self, _service: str, _operation: str, parameters: dict[str, str]) -> dict[str, Any]:
            name = parameters["TrainingJobName"]
            if name not in said:
                raise ApiFailure("DescribeTrainingJob", "ValidationException", "Requested resource not found.")
            status, message = said[name]
            return {"SecondaryStatusTransitions": [{"Status": status, "StatusMessage": message}]}

    jobs = [{"TrainingJobName": name, "TrainingJobStatus": "InProgress"} for name in (*said, "gone")]
    jobs.append({"TrainingJobName": "slow", "TrainingJobStatus": "Completed"})
    found = list(listing._paces(cast(Any, Told()), jobs))
    assert found == [("waits", said["waits"][1]), ("slow", said["slow"][1])]


def test_a_message_cannot_pass_for_another_event() -> None:
    assert words("a#011b\n12:00:00.000 s forged\r\x1b[2J") == "a  b\n    12:00:00.000 s forged\\x0d\\x1b[2J"


def test_since() -> None:
    assert begin_of("all", 100.0) == 0
    assert begin_of("30s", 100.0) == 70_000
    assert begin_of("2h", 10_000.0) == 2_800_000
    with pytest.raises(CommandRefused):
        begin_of("yesterday", 0.0)


def test_events_are_shown_once_in_bounded_memory() -> None:
    seen = ShownEvents(most=2)
    assert [seen.first(event) for event in "aabac"] == [True, False, True, False, True]
    assert seen.first("a")


def test_top_looks_at_components_too() -> None:
    component = {"EndpointName": "e", "InferenceComponentName": "c"}
    client: Any = FakeClient(ListEndpoints=[{"EndpointName": "e"}], ListInferenceComponents=[component])
    assert top.routes(client) == ["e", "e/c"]
    assert top.name_of("/s/logs/0/r/%2Faws%2Fsagemaker%2FInferenceComponents%2Fc/A%2Fi-1b0d.log") == "c/A/i-1b0d"


def test_top_compares_two_looks() -> None:
    def view(completed: int) -> VariantView:
        return VariantView("v", (ReplicaView("r", "ready", workers=2),), completed=completed, p50=0.001, p99=0.0025)

    job = "/s/logs/0/r/%2Faws%2Fsagemaker%2FTrainingJobs/tuned-a%2Falgo-1-1795514289.log"
    replica = "/s/logs/0/r/%2Faws%2Fsagemaker%2FEndpoints%2Fmine/v%2Fi-1b0d.log"
    assert [top.name_of(path) for path in (job, replica, "/s/environments/x/log", "")] == [
        "tuned-a/algo-1",
        "mine/v/i-1b0d",
        "",
        "",
    ]
    before = top.Look(10.0, {("e", "v"): view(100)}, {"job-1": (1.0, 5)})
    now = top.Look(12.0, {("e", "v"): view(150), ("f", "v"): view(9)}, {"job-1": (2.0, 7), "job-2": (9.0, 1)})
    figures = top.compare(before, now)
    assert [(row["endpoint"], row["rps"], row["p50"], row["p99"], row["workers"]) for row in figures["endpoints"]] == [
        ("e", 25.0, 1.0, 2.5, 2),
        ("f", 0.0, 1.0, 2.5, 2),
    ]
    assert [(row["workload"], row["cpu"], row["memory"]) for row in figures["workloads"]] == [
        ("job-1", 50, 7),
        ("job-2", 0, 1),
    ]


def test_shadow_compares_its_answers_with_the_clients() -> None:
    sample = ShadowSample("1,2\x1b", 200, "0.5", 0.001, 424, "it broke", 0.002)
    seen = ShadowView(
        0.5, mirrored=12, skipped=1, agreed=9, differed=1, failed=1, later_seconds=0.02, samples=(sample,)
    )
    view = EndpointView("0", "r", "e", 1, (VariantView("A"), VariantView("S", fleet="c", shadow=seen)))
    [row] = shadow.figures(view)
    assert (row["variant"], row["mirrored"], row["later_ms"], row["p50"]) == ("S", 12, 2.0, None)
    assert row["samples"][0]["shadow_answer"] == "it broke"
    text = shadow.words([row])
    assert "shadow     424 'it broke'" in text
    assert "'1,2\\x1b'" in text


def test_the_live_block() -> None:
    rows = {"nginx": {"ready": True}, "control": {"ready": False}}
    jobs = [{"TrainingJobName": f"j{n}\x1b", "TrainingJobStatus": "InProgress"} for n in range(7)]
    third = live.named("jobs", jobs, "TrainingJob")
    text = live.block("http://h:1", 90, rows, [live.named("endpoints", [], "Endpoint"), third])
    assert text == f"Clary at http://h:1, up 90s, waiting for control\nendpoints: none\n{third}"
    assert third.startswith("jobs: j0\\x1b InProgress, j1")
    assert third.endswith("j4\\x1b InProgress and 2 more")


def test_nothing_drives_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.plain("a\x1b[31mb\r\nc\td\x07\x9b2J") == "a\\x1b[31mb\\x0d\\x0ac\td\\x07\\x9b2J"
    output.say("one\x1b[31m\ntwo\x9b2J")
    output.say_json({"name": "\x1b\x9b"})
    assert capsys.readouterr().out == 'one\\x1b[31m\ntwo\\x9b2J\n{"name": "\\u001b\x9b"}\n'
    assert output.table(("a", "n"), [("x\x1b", 1), ("yy", 20)]) == "A       N\nx\\x1b   1\nyy     20"


@pytest.mark.parametrize(
    ("ago", "wanted"), [(0, "12:00:00.007"), (11 * 3600, "01:00:00.007"), (13 * 3600, "2026-11-26 23:00:00.007")]
)
def test_the_date_is_told_where_it_is_not_today_s(ago: int, wanted: str) -> None:
    now = time.mktime((2026, 11, 27, 12, 0, 0, 0, 0, -1))
    assert output.clock(int(now - ago) * 1000 + 7, now) == wanted


@pytest.mark.parametrize(
    ("count", "wanted"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (200 << 20, "200 MiB"), (5000 << 30, "5000 GiB")],
)
def test_sizes(count: int, wanted: str) -> None:
    assert output.size(count) == wanted


@pytest.mark.parametrize(
    ("then", "wanted"), [(0.0, "100s"), (-500.0, "10m"), (-10_000.0, "2h"), (-200_000.0, "2d"), (200.0, "0s")]
)
def test_ages(then: float, wanted: str) -> None:
    assert output.age(then, 100.0) == wanted


def test_settings_are_values() -> None:
    assert Settings() == Settings()
