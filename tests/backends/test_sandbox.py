"""The sandbox as a value: what bwrap is told, for both ways in."""

from __future__ import annotations

import dataclasses

import pytest

from clary.backends import sandbox
from clary.backends.host import Host
from clary.domain.errors import Unschedulable
from clary.domain.machine.workload import Mount, MountMode, Workload

ROOT = Host(
    root=True,
    bwrap="/bwrap",
    setpriv="/usr/bin/setpriv",
    prlimit="/usr/bin/prlimit",
    links=(("/bin", "usr/bin"),),
    folders=("/usr",),
    files=(("/run/resolve/stub", "/etc/resolv.conf"),),
    toolkit="/site/clary/toolkit",
    seccomp="/site/filter.bpf",
    cpus=4,
    memory=8 << 30,
    gpus=("/dev/nvidia0", "/dev/nvidia1"),
    gpu_controls=("/dev/nvidiactl",),
)
USER = dataclasses.replace(ROOT, root=False, uid=1000, gid=1000)
WORKLOAD = Workload(
    "key", ("/env/bin/python", "train.py"), {"TOKEN": "tk", "LD_PRELOAD": "/x.so"}, root="/state/jobs/1"
)


def follows(argv: tuple[str, ...], *wanted: str) -> bool:
    """`wanted` stands in `argv` in one piece."""
    return any(argv[at : at + len(wanted)] == wanted for at in range(len(argv)))


def test_as_root_no_user_namespace_and_nothing_but_what_setpriv_needs() -> None:
    argv = sandbox.arguments(WORKLOAD, ROOT)
    assert "--unshare-user" not in argv
    assert follows(argv, "--cap-drop", "ALL")
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "--cap-add"] == [
        "cap_setuid",
        "cap_setgid",
        "cap_setpcap",
    ]
    command = sandbox.command(WORKLOAD, ROOT)
    assert command[:5] == ("/usr/bin/setpriv", "--reuid", sandbox.UID, "--regid", sandbox.UID)
    assert {"--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"} <= set(command)
    assert command[-2:] == WORKLOAD.command


def test_runtimes_see_the_library_of_preparation() -> None:
    argv = sandbox.arguments(WORKLOAD, ROOT)
    assert follows(argv, "--ro-bind", "/site/clary/toolkit", "/opt/clary/lib/clary/toolkit")
    assert follows(argv, "--symlink", "toolkit/preparation/library.py", "/opt/clary/lib/clary/prepare.py")


def test_as_a_user_one_namespace_and_no_further() -> None:
    argv = sandbox.arguments(WORKLOAD, USER)
    assert follows(argv, "--unshare-user", "--disable-userns")
    assert "--cap-add" not in argv
    assert sandbox.command(WORKLOAD, USER)[:3] == ("/usr/bin/prlimit", "--nproc=4096", "--")


@pytest.mark.parametrize("host", [ROOT, USER], ids=["root", "user"])
def test_always(host: Host) -> None:
    argv = sandbox.arguments(WORKLOAD, host)
    for wanted in ("--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc", "--unshare-uts"):
        assert wanted in argv
    assert "--unshare-net" not in argv
    assert "--unshare-net" in sandbox.arguments(dataclasses.replace(WORKLOAD, network=False), host)
    assert follows(argv, "--perms", "1777", "--tmpfs", "/tmp")
    assert follows(argv, "--perms", "1777", "--dir", "/var/log/nginx")
    assert follows(argv, "--ro-bind", "/run/resolve/stub", "/etc/resolv.conf")
    assert follows(argv, "--ro-bind", "/site/clary/toolkit", "/opt/clary/lib/clary/toolkit")
    assert follows(argv, "--hostname", "algo-1")
    assert not any(word.startswith("/state") for word in argv)


def test_no_variable_reaches_a_program_with_rights_under_its_own_name() -> None:
    names = sandbox.environment(WORKLOAD)[2::3]
    assert names
    assert all(name.startswith(sandbox.CARRIED) for name in names)
    told = [*sandbox.arguments(WORKLOAD, ROOT), *sandbox.command(WORKLOAD, ROOT)]
    assert not any(word == "tk" or "/x.so" in word for word in told)


def test_defaults_of_the_environment() -> None:
    found = sandbox.effective_environment(WORKLOAD)
    assert found["PATH"] == "/env/bin:/usr/local/bin:/usr/bin:/bin"
    assert (found["HOME"], found["LANG"]) == ("/tmp/home", "C.UTF-8")
    own = dataclasses.replace(WORKLOAD, environment={"PATH": "/mine", "HOME": "/opt/ml"})
    assert sandbox.effective_environment(own)["PATH"] == "/mine"


def test_mounts_from_the_outside_in() -> None:
    mounts = (
        Mount("/a", "/opt/ml/input/data/train", MountMode.OVERLAY),
        Mount("/b", "/opt/ml", MountMode.READ_WRITE),
        Mount("/c", "/opt/ml/model"),
    )
    argv = sandbox.arguments(dataclasses.replace(WORKLOAD, mounts=mounts), ROOT)
    assert follows(argv, "--overlay-src", "/a", "--tmp-overlay", "/opt/ml/input/data/train")
    order = [argv.index(word) for word in ("/b", "/c", "/a")]
    assert order == sorted(order)
    assert follows(argv, "--perms", "0755", "--dir", "/opt")


def test_gpus_are_those_that_are_there() -> None:
    argv = sandbox.arguments(dataclasses.replace(WORKLOAD, gpus=1), ROOT)
    assert follows(argv, "--dev-bind", "/dev/nvidiactl", "/dev/nvidiactl")
    assert follows(argv, "--dev-bind", "@gpu@0", "@gpu@0")
    assert "@gpu@1" not in argv
    with pytest.raises(Unschedulable, match="3 GPUs"):
        sandbox.arguments(dataclasses.replace(WORKLOAD, gpus=3), ROOT)


def test_cuda_is_told_of_the_gpus_of_the_sandbox_alone() -> None:
    two = dataclasses.replace(WORKLOAD, gpus=2)
    assert sandbox.effective_environment(two)["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "CUDA_VISIBLE_DEVICES" not in sandbox.effective_environment(WORKLOAD)
    own = dataclasses.replace(two, environment={"CUDA_VISIBLE_DEVICES": "1"})
    assert sandbox.effective_environment(own)["CUDA_VISIBLE_DEVICES"] == "1", "the user's own goes first"


@pytest.mark.parametrize(
    "change",
    [
        {"mounts": (Mount("/a", "relative"),)},
        {"mounts": (Mount("/a", "/opt/../etc"),)},
        {"environment": {"A": "zero\0byte"}},
        {"environment": {"A=B": "c"}},
        {"environment": {"BASH_FUNC_x%%": "() { :; }"}},
        {"command": ()},
    ],
)
def test_what_cannot_be_is_said_before_it_starts(change: dict[str, object]) -> None:
    workload = dataclasses.replace(WORKLOAD, **change)  # type: ignore[arg-type]
    with pytest.raises(Unschedulable):
        _ = (sandbox.arguments(workload, ROOT), sandbox.command(workload, ROOT), sandbox.environment(workload))


def test_a_machine_without_sandboxes_refuses_with_the_fix() -> None:
    with pytest.raises(Unschedulable, match="max_user_namespaces"):
        sandbox.arguments(WORKLOAD, dataclasses.replace(USER, problem="set sysctl user.max_user_namespaces above 0"))


def test_small_files() -> None:
    made = sandbox.files(dataclasses.replace(WORKLOAD, hosts={"algo-2": "127.0.0.2"}), 210_001, 210_001)
    assert "127.0.0.2\talgo-2\n" in made["hosts"]
    assert made["passwd"].splitlines()[1] == "clary:x:210001:210001:clary:/tmp/home:/bin/bash"
