"""`docs/operate.md`, done as it says: all its commands, in order. Folders, host name and service manager are the test's own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live import ROOT

pytestmark = [pytest.mark.live, pytest.mark.slow]
PAGE = ROOT / "docs" / "operate.md"
AWS = ROOT / ".venv-cli" / "bin" / "aws"
FOLDERS = (
    "/opt/clary",
    "/var/lib/clary",
    "/var/backups",
    "/etc/clary",
    "/etc/systemd/system",
    "/etc/prometheus",
    "/srv",
    "/tmp",
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Machine:
    """The reader's: `folder` is its root, `bin` has the programs that a test must not or cannot use as they are."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        for name in ("bin", "opt/clary/bin", "etc/systemd/system", "var/lib", "var/backups", "srv", "tmp", "home"):
            (folder / name).mkdir(parents=True)
        systemctl = Path(__file__).with_name("systemctl.py")
        self.program("bin/systemctl", f'exec "{sys.executable}" "{systemctl}" "{folder}" "$@"')
        self.program("bin/journalctl", f'[ "$*" = "-u clary -n 20" ] && exec tail -n 20 "{folder}/journal"')
        self.program("bin/aws", f'exec "{AWS}" "$@"')
        self.program("opt/clary/bin/clary", f'exec "{sys.executable}" -m clary.app.cli "$@"')
        # What is tested is this checkout: it is installed already.
        self.program("opt/clary/bin/pip", f'[ "$*" = "install --upgrade $HOME/clary" ] && touch "{folder}/upgraded"')
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def program(self, path: str, line: str) -> None:
        (self.folder / path).write_text(f"#!/bin/sh\n{line}\n")
        (self.folder / path).chmod(0o755)

    def here(self, text: str) -> str:
        """The page's text with this machine's folders, name and port."""
        names = "|".join(re.escape(name) for name in FOLDERS)
        text = re.sub(rf"(?<![\w/.])({names})(?![\w-])", rf"{self.folder}\1", text)
        strangers = set(re.findall(r"(?<![\w/.:$~])/\w[\w./-]*", text)) - {"/bin/kill", "/CN"}  # a program, and no path
        assert all(path.startswith(str(self.folder)) for path in strangers), f"of this very machine: {strangers}"
        return text.replace("ml.example.org", "localhost").replace("4600", str(self.port))

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        given = {k: v for k, v in os.environ.items() if not k.startswith(("CLARY_", "AWS_", "SAGEMAKER_"))}
        own = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={**given, **own},
            capture_output=True,
            text=True,
            timeout=560,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    found = Machine(tmp_path / "m")
    yield found
    if (found.folder / "clary.pid").exists():
        found.run("systemctl stop clary")


def blocks() -> list[str]:
    found = BLOCK.findall(PAGE.read_text())
    assert {language for language, _ in found} == {"bash"}, "what is not bash, nobody runs"
    return [text for _, text in found]


@pytest.mark.skipif(not AWS.exists(), reason=".venv-cli is not there: scripts/test makes it")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_the_page_works_from_its_first_command_to_its_last(machine: Machine) -> None:
    steps = [f"echo '=== block {number}'\n{machine.here(block)}" for number, block in enumerate(blocks())]
    done = machine.run("\n".join(steps) + '\necho "=== end $old $AWS_ACCESS_KEY_ID"\naws s3 ls\n')
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert not re.search(r"^fault  ", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines().count("kept") == 2, "restored once, moved once"
    said = done.stdout.partition("=== end ")[2].splitlines()
    old, new = said[0].split()
    assert old != new
    assert [line.split()[-1] for line in said[1:]] == ["operate"]
    place = machine.folder
    assert not list((place / "srv/clary/keys").glob(f"{old}*"))
    assert f'"targets": ["localhost:{machine.port}"]' in (place / "etc/prometheus/clary.yml").read_text()
    assert "\nclary_" in (place / "tmp/metrics.txt").read_text()
    assert (place / "upgraded").exists()
    assert not (place / "var/lib/clary").exists()
    journal = (place / "journal").read_text()
    assert journal.count(f"ready at https://127.0.0.1:{machine.port} after") == 5
    assert "nginx reloads its certificate" in journal
    assert "not settled" not in (place / "srv/clary/logs/clary/control.log").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze looks at the unit")
def test_systemd_understands_the_unit(machine: Machine) -> None:
    (block,) = (text for text in blocks() if "[Service]" in text)
    unit = machine.folder / "clary.service"
    unit.write_text(machine.here(block).partition("<<'EOF'\n")[2].partition("EOF\n")[0])
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=120, check=False
    )
    told = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, told) == (0, []), done.stderr
