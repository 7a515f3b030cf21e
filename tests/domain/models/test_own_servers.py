"""How a user says that the model's code is its own server."""

from __future__ import annotations

import pytest

from clary.domain.models import own_servers

CODE = "/opt/ml/code"


@pytest.mark.parametrize(
    ("environment", "files", "wanted"),
    [
        ({}, (), []),
        ({}, ("inference.py", "requirements.txt"), []),
        ({}, ("serve", "nginx.conf", "wsgi.py"), [f"{CODE}/serve"]),
        ({}, ("serve.py",), [f"{CODE}/serve.py"]),
        ({}, ("serve.py", "serve"), [f"{CODE}/serve"]),
        ({"SAGEMAKER_PROGRAM": "serve.py"}, ("serve.py", "serve"), []),
        ({"SAGEMAKER_PROGRAM": "serve"}, ("serve.py", "serve"), [f"{CODE}/serve"]),
        ({"SAGEMAKER_PROGRAM": "inference.py"}, ("serve", "inference.py"), []),
        ({own_servers.COMMAND: "gunicorn app:app"}, ("inference.py",), ["/bin/sh", "-c", "gunicorn app:app"]),
        ({own_servers.COMMAND: "run", "SAGEMAKER_PROGRAM": "inference.py"}, (), ["/bin/sh", "-c", "run"]),
        ({own_servers.COMMAND: " "}, ("serve",), [f"{CODE}/serve"]),
    ],
)
def test_which_command_it_is(environment: dict[str, str], files: tuple[str, ...], wanted: list[str]) -> None:
    assert own_servers.command(environment, files, CODE) == wanted


@pytest.mark.parametrize(("isolated", "port"), [(True, 8080), (False, 0)])
def test_the_port_is_sagemakers_where_nobody_else_can_have_it(isolated: bool, port: int) -> None:
    said = own_servers.spec(["x"], CODE, isolated)
    assert (said["command"], said["folder"], said["port"]) == (["x"], CODE, port)
