"""Runs inside a sandbox and tries to leave it: prints {attempt: "refused" | "DONE: what"} as JSON. Arguments: a JSON object.

Every attempt is what an attacker's training script might do; "refused" means that the kernel said no, or that the thing is not there.
"""

import ctypes
import json
import os
import platform
import socket
import subprocess
import sys

ARM = platform.machine() == "aarch64"
LIBC = ctypes.CDLL(None, use_errno=True)
NEW_USER, NEW_NS, NEW_PID, NEW_NET, NEW_TIME = 0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x80

# name -> (x86_64, aarch64, arguments): with these a call that is let through answers, or fails otherwise than by EPERM or ENOSYS.
CALLS = {
    "unshare user": (272, 97, (NEW_USER,)),
    "unshare mounts": (272, 97, (NEW_NS,)),
    "unshare network": (272, 97, (NEW_NET,)),
    "unshare processes": (272, 97, (NEW_PID,)),
    "unshare time": (272, 97, (NEW_TIME,)),
    "clone into a user namespace": (56, 220, (NEW_USER | 17, 0, 0, 0, 0)),
    "clone3": (435, 435, (0, 0)),
    "setns": (308, 268, (-1, 0)),
    "mount": (165, 40, (0, 0, 0, 0, 0)),
    "umount2": (166, 39, (0, 0)),
    "pivot_root": (155, 41, (0, 0)),
    "chroot": (161, 51, (0,)),
    "open_tree": (428, 428, (-1, 0, 0)),
    "move_mount": (429, 429, (-1, 0, -1, 0, 0)),
    "fsopen": (430, 430, (0, 0)),
    "mount_setattr": (442, 442, (-1, 0, 0, 0, 0)),
    "ptrace": (101, 117, (0, 0, 0, 0)),
    "process_vm_readv": (310, 270, (1, 0, 0, 0, 0, 0)),
    "process_vm_writev": (311, 271, (1, 0, 0, 0, 0, 0)),
    "pidfd_getfd": (438, 438, (-1, 0, 0)),
    "add_key": (248, 217, (0, 0, 0, 0, 0)),
    "request_key": (249, 218, (0, 0, 0, 0)),
    "keyctl": (250, 219, (0, -3, 0)),
    "bpf": (321, 280, (0, 0, 0)),
    "perf_event_open": (298, 241, (0, 0, -1, -1, 0)),
    "userfaultfd": (323, 282, (0,)),
    "io_uring_setup": (425, 425, (1, 0)),
    "init_module": (175, 105, (0, 0, 0)),
    "finit_module": (313, 273, (-1, 0, 0)),
    "kexec_load": (246, 104, (0, 0, 0, 0)),
    "reboot": (169, 142, (0, 0, 0, 0)),
    "swapon": (167, 224, (0, 0)),
    "sethostname": (170, 161, (b"x", 1)),
    "settimeofday": (164, 170, (0, 0)),
    "open_by_handle_at": (304, 265, (-1, 0, 0)),
    "inject a key stroke": (16, 29, (0, 0x5412, 0)),
}
EPERM, ENOSYS = 1, 38


def call(numbers):
    x86, arm, arguments = numbers
    ctypes.set_errno(0)
    words = [ctypes.c_char_p(word) if isinstance(word, bytes) else ctypes.c_long(word) for word in arguments]
    answer = LIBC.syscall(ctypes.c_long(arm if ARM else x86), *words)
    if answer == -1 and ctypes.get_errno() in (EPERM, ENOSYS):
        return "refused"
    return f"DONE: {answer}, errno {ctypes.get_errno()}"


def foreign_numbers():
    """x86_64 has a second table of system calls, by which a filter might be passed."""
    if ARM:
        return "refused"
    ctypes.set_errno(0)
    answer = LIBC.syscall(ctypes.c_long(0x40000000 | 39))
    return "refused" if answer == -1 and ctypes.get_errno() == ENOSYS else f"DONE: {answer}"


def attempt(action):
    try:
        found = action()
    except (OSError, subprocess.SubprocessError) as error:
        return "refused" if not isinstance(error, subprocess.TimeoutExpired) else "DONE: hangs"
    return "refused" if found in (None, False, [], "", b"", "refused") else f"DONE: {found!r}"


def read(path):
    with open(path, "rb") as file:
        return file.read(100)


def write(path, data="x"):
    with open(path, "w") as file:
        file.write(data)
    return True


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(3)
        one.connect(address)
    return True


def status(name):
    with open("/proc/self/status") as file:
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith(name + ":"))


def processes():
    """Process ids that are not of this sandbox: it has its own, counted from 1."""
    return [name for name in os.listdir("/proc") if name.isdigit() and int(name) > 100]


def become_root():
    os.setuid(0)
    return f"uid {os.getuid()}"


def make_device():
    os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0))
    return True


def devices():
    usual = {
        "console",
        "core",
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
    }
    return sorted(set(os.listdir("/dev")) - usual - {"urandom", "zero"})


def setuid_program():
    return subprocess.run(
        ["su", "-c", "id", "root"], capture_output=True, stdin=subprocess.DEVNULL, timeout=20, check=True
    ).stdout


def special(number):
    with socket.socket(number, socket.SOCK_STREAM if number == 40 else socket.SOCK_SEQPACKET):
        return True


def attempts(given):
    tried = {name: call(numbers) for name, numbers in CALLS.items()}
    tried["system calls of the other table"] = foreign_numbers()
    actions = {
        "read a file of the host": lambda: read(given["secret"]),
        "list a folder of the host": lambda: os.listdir(os.path.dirname(given["secret"])),
        "read the shadow file": lambda: read("/etc/shadow"),
        "list the home of root": lambda: [name for name in os.listdir("/root") if not name.startswith(".pyenv")],
        "see processes of the host": processes,
        "signal a process of the host": lambda: os.kill(given["pid"], 0) or True,
        "look into process 1": lambda: given["root"] and read("/proc/1/environ"),
        "write the memory of process 1": lambda: given["root"] and write("/proc/1/mem"),
        "write a system file": lambda: write("/usr/bin/x"),
        "write the toolkit": lambda: write("/opt/clary/lib/clary/toolkit/x"),
        "write /etc/hosts": lambda: write("/etc/hosts"),
        "write core_pattern": lambda: write("/proc/sys/kernel/core_pattern"),
        "write sysrq": lambda: write("/proc/sysrq-trigger", "h"),
        "read kernel memory": lambda: read("/proc/kcore"),
        "see control groups": lambda: os.listdir("/sys/fs/cgroup"),
        "become root": lambda: given["root"] and become_root(),
        "make a device": make_device,
        "see devices of the host": devices,
        "run a setuid program": setuid_program,
        "talk to the hypervisor": lambda: special(40),
        "use kernel cryptography": lambda: special(38),
        "read what only root may": lambda: given["root"] and read("/closed/file"),
        "connect to the socket of another": lambda: connect(socket.AF_UNIX, given["socket"]),
        "regain capabilities": lambda: (
            int(status("CapPrm"), 16) | int(status("CapEff"), 16) | int(status("CapBnd"), 16)
        ),
        "run without a filter": lambda: status("Seccomp") != "2" or status("NoNewPrivs") != "1",
        "keep groups": lambda: given["root"] and 0 in os.getgroups(),
    }
    if not given["network"]:
        actions["connect to the host"] = lambda: connect(socket.AF_INET, ("127.0.0.1", given["port"]))
        actions["connect to an abstract socket"] = lambda: connect(socket.AF_UNIX, "\0" + given["abstract"])
        actions["have another network device"] = lambda: [name for _, name in socket.if_nameindex() if name != "lo"]
        actions["reach the outside"] = lambda: connect(socket.AF_INET, ("192.0.2.1", 80))
    return {**tried, **{name: attempt(action) for name, action in actions.items()}}


if __name__ == "__main__":
    print(json.dumps(attempts(json.loads(sys.argv[1]))))
