"""What a job that runs a remote function of the SDK needs, by its command line."""

from __future__ import annotations

from clary.domain.jobs.remote import DRIVER, RemoteClient, client_of, folder, variables
from clary.domain.jobs.spec import JobSpec


def job(*arguments: str, command: tuple[str, ...] = ("/bin/bash", DRIVER)) -> JobSpec:
    return JobSpec("image", "role", "group", (), 60, command=command, arguments=arguments)


def test_the_command_line_tells_who_called() -> None:
    given = ("--region", "us-east-1", "--client_python_version", "3.10", "--client_sagemaker_pysdk_version", "2.257.7")
    client = client_of(job(*given))
    assert client == RemoteClient("3.10", "2.257.7")
    assert client.requirements == "pip\nsagemaker==2.257.7\n"
    assert (folder(job(*given)), variables(job(*given))) == ("/opt/ml", {"LOGNAME": "root"})


def test_what_is_no_version_asks_for_nothing() -> None:
    for version in ("2; rm -rf", "2.0\nevil @ https://example.com/evil.tar.gz", "", "-r /etc/passwd"):
        client = client_of(job("--client_python_version", version, "--client_sagemaker_pysdk_version", version))
        assert client == RemoteClient("", "")
        assert client.requirements == "pip\nsagemaker\n"
    assert client_of(job("--client_python_version")) == RemoteClient("", "")
    assert client_of(job("--client_sagemaker_pysdk_version", "3.0.0.post1")) == RemoteClient("", "3.0.0.post1")


def test_other_jobs_run_no_remote_function() -> None:
    plain = job("--client_python_version", "3.10", command=("python", "train.py"))
    assert client_of(plain) is None
    assert (folder(plain), variables(plain)) == ("/", {})
