"""Where a setting's value comes from, and what is refused."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from clary.app.settings import NAMES, SettingError, Settings, default_dir, describe, load, strangers


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / "clary.toml").write_text('port = 1\nhost = "0.0.0.0"\nregion = "eu-west-1"\n')
    settings = load({"dir": str(tmp_path), "port": 3}, {"CLARY_PORT": "2", "CLARY_HOST": "::1"})
    assert (settings.port, settings.host, settings.region) == (3, "::1", "eu-west-1")
    assert settings.origins["port"] == "flag"
    assert settings.origins["host"] == "CLARY_HOST"
    assert settings.origins["region"] == str(tmp_path / "clary.toml")
    assert settings.origins["account"] == "default"


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        ({}, {"CLARY_PORT": "many"}, "CLARY_PORT takes a whole number"),
        ({}, {"CLARY_STRICT_FIELDS": "perhaps"}, "CLARY_STRICT_FIELDS takes true or false"),
        ({"capacity": "elastic"}, {}, "--capacity is one of fit, strict"),
        ({}, {"CLARY_BACKEND": "slurm"}, "CLARY_BACKEND is one of local, cluster, not 'slurm'"),
        ({"tls_cert": "x.pem"}, {}, "go together"),
        ({"port": 70000}, {}, "--port is from 0 to 65535"),
        ({"s3_endpoint": "http://other"}, {}, "needs 's3_access_key'"),
        ({"account": "12"}, {}, "--account is 12 digits"),
        ({"dir": ""}, {}, "--dir takes a folder, not ''"),
        ({}, {"CLARY_ACCOUNT": "١٢٣٤٥٦٧٨٩٠١٢"}, "CLARY_ACCOUNT is 12 digits"),
        ({}, {"CLARY_REGION": "../elsewhere"}, "CLARY_REGION is a name such as eu-west-1, not '../elsewhere'"),
        ({}, {"CLARY_FRONTS": "-1"}, "CLARY_FRONTS takes a whole number, 0 or more, not '-1'"),
        ({"rollback_on_regression": "1"}, {}, "--rollback-on-regression must be a false alarm rate above 0"),
        ({"datapoint_disk": 1000}, {}, "--datapoint-disk is at least 67108864"),
        ({"colour": "red"}, {}, "there is no setting 'colour'; there are: dir, host,"),
        (
            {"public_url": "ml.example.org"},
            {},
            "--public-url is http:// or https://, a host and perhaps a port, not 'ml.ex",
        ),
        ({"public_url": "https://ml.example.org/clary"}, {}, "--public-url is http:// or https://"),
        ({"public_url": "https://me:x@ml.example.org"}, {}, "--public-url is http:// or https://"),
        ({"public_url": "https://ml.example.org:port"}, {}, "--public-url is http:// or https://"),
        ({}, {"CLARY_PRICES": "cpu=1"}, "CLARY_PRICES: there is no price 'cpu'"),
        ({}, {"CLARY_PRICES": "cheap"}, "CLARY_PRICES takes a table of names and values"),
        ({"prot": "1"}, {}, "there is no setting 'prot'; did you mean 'port'"),
    ],
)
def test_bad_settings_are_refused_with_their_name(
    tmp_path: Path, flags: dict[str, object], environment: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        load({"dir": str(tmp_path), **flags}, environment)


def test_a_table_of_the_file_is_a_setting_and_reaches_the_processes(tmp_path: Path) -> None:
    (tmp_path / "clary.toml").write_text("[prices]\nvcpu_hour = 0.04\n")
    settings = load({"dir": str(tmp_path)}, {})
    assert settings.prices == {"vcpu_hour": "0.04"}
    settings.write(tmp_path / "effective.json")
    assert Settings.read(tmp_path / "effective.json").prices == settings.prices
    assert load({"dir": str(tmp_path)}, {"CLARY_PRICES": "gb_hour=1, vcpu_hour=2"}).prices == {
        "gb_hour": "1",
        "vcpu_hour": "2",
    }


def test_a_variable_that_sets_nothing_is_noticed() -> None:
    given = {"CLARY_PROT": "1", "CLARY_PORT": "2", "CLARY_SHELL": "http://h", "HOME": "/"}
    assert strangers(given) == ["CLARY_PROT sets nothing: did you mean 'port'?"]


def test_a_broken_file_names_itself(tmp_path: Path) -> None:
    (tmp_path / "clary.toml").write_text("port = \n")
    with pytest.raises(SettingError, match=r"clary\.toml: not valid TOML"):
        load({"dir": str(tmp_path)}, {})


def test_a_state_folder_that_cannot_be_looked_into_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        SettingError, match=r"clary\.toml cannot be read: Not a directory; --dir names another state folder"
    ):
        load({"dir": str(tmp_path / "file")}, {})


def test_the_default_folder_is_in_the_users_home_though_nobody_says_where_that_is() -> None:
    assert default_dir({"HOME": "/h"}) == "/h/.local/share/clary"
    assert default_dir({"HOME": "/h", "XDG_DATA_HOME": "/x"}) == "/x/clary"
    assert default_dir({}) == f"{pwd.getpwuid(os.getuid()).pw_dir}/.local/share/clary"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"port = true", "'port' takes a whole number, 0 or more, not True"),
        (b"port = 4600.7", "'port' takes a whole number, 0 or more, not 4600.7"),
        (b"allowed_hosts = 5", "'allowed_hosts' takes texts, separated by commas, not 5"),
        (b"allowed_hosts = [1]", r"'allowed_hosts' takes texts, separated by commas, not \[1\]"),
        (b"host = ['a']", r"'host' takes text, not \['a'\]"),
        (b"host = true", "'host' takes text, not True"),
        (b"host = '\xe9'", "not valid TOML"),
    ],
)
def test_a_file_s_values_have_types(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "clary.toml").write_bytes(text)
    with pytest.raises(SettingError, match=words):
        load({"dir": str(tmp_path)}, {})


def test_paths_are_meant_from_where_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "clary.toml").write_text('tls_cert = "cert.pem"\n')
    monkeypatch.chdir(tmp_path)
    settings = load({"dir": "state", "tls_key": "../key.pem"}, {"CLARY_NGINX": "/usr/sbin/nginx"})
    assert settings.tls_cert == str(tmp_path / "state" / "cert.pem")
    assert settings.tls_key == str(tmp_path.parent / "key.pem")
    assert (settings.nginx, settings.environments) == ("/usr/sbin/nginx", "")


def test_child_processes_read_back_what_was_written(tmp_path: Path) -> None:
    settings = load({"dir": str(tmp_path), "allowed_hosts": "a.example,b.example"}, {"PIP_CERT": "/c.pem"})
    settings.write(tmp_path / "settings.json")
    assert Settings.read(tmp_path / "settings.json") == settings
    assert Settings.read(tmp_path / "settings.json").passed == {"PIP_CERT": "/c.pem"}
    assert (tmp_path / "settings.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_its_sentence(name: str) -> None:
    assert len(describe(name)) > 10


@pytest.mark.parametrize(
    ("flags", "endpoint"),
    [
        ({}, "http://127.0.0.1:4600"),
        ({"host": "0.0.0.0", "port": 80}, "http://127.0.0.1:80"),
        ({"host": "::1"}, "http://[::1]:4600"),
        ({"tls_cert": "a", "tls_key": "b", "host": "clary.example"}, "https://clary.example:4600"),
    ],
)
def test_the_endpoint_is_one_that_a_client_here_can_reach(flags: dict[str, object], endpoint: str) -> None:
    assert load({"dir": "/nowhere", **flags}, {}).endpoint == endpoint


def test_socket_paths_fit_whatever_the_state_folder_is_called(tmp_path: Path) -> None:
    settings = load({"dir": str(tmp_path / ("x" * 200))}, {})
    assert len(str(settings.front_workers(999))) < 108
