"""Runs in a container as what a developer, or an image, can run there, and tries to get out.

Its first argument is JSON: `calls`, by name the addresses and ports to connect to; `datagrams`, the
addresses that something is sent to; `names`, what is to be resolved; `files`, where it may write.
It prints one JSON object: what was tried, each with whether it got through, and what came of it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

Outcome = tuple[bool, str]
PATIENCE = 1.5
PTRACE_ATTACH = 16
NEW_USER, NEW_NAMESPACE, NEW_NETWORK = 0x10000000, 0x00020000, 0x40000000
SYSTEM = ctypes.CDLL(None, use_errno=True)


def said(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "") or type(error).__name__


def refused(act: Callable[[], object]) -> Outcome:
    """Blocked when the act is refused; what it gives otherwise."""
    try:
        act()
    except OSError as error:
        return False, said(error)
    except ValueError as error:
        return False, str(error)
    return True, "it worked"


def call(name: str, *arguments: object) -> Callable[[], object]:
    """A call of the C library, which fails with the number of its error."""

    def act() -> object:
        if (got := getattr(SYSTEM, name)(*arguments)) < 0:
            raise OSError(ctypes.get_errno(), name)
        return got

    return act


def connect(calls: dict[str, list[tuple[str, int]]]) -> dict[str, Outcome]:
    """All side by side. Through is what connects; of a machine itself, also what it refuses."""
    doors: dict[socket.socket, str] = {}
    told: dict[str, list[str]] = {name: [] for name in calls}
    got: dict[str, list[str]] = {name: [] for name in calls}
    for name, targets in calls.items():
        for host, port in targets:
            door = socket.socket()
            door.setblocking(False)
            if (code := door.connect_ex((host, port))) in (0, errno.EINPROGRESS):
                doors[door] = f"{name}\n{host}:{port}"
            else:
                told[name].append(errno.errorcode[code])
    ends = time.monotonic() + PATIENCE
    while doors and (left := ends - time.monotonic()) > 0:
        for door in select.select([], list(doors), [], left)[1]:
            name, where = doors.pop(door).split("\n")
            code = door.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code or (code == errno.ECONNREFUSED and name.startswith("this machine")):
                got[name].append(f"{where} {'refused' if code else 'connected'}")
            else:
                told[name].append(errno.errorcode[code])
    for name in (entry.split("\n")[0] for entry in doors.values()):
        told[name].append("no answer")
    return {
        name: (bool(got[name]), ", ".join(got[name] or sorted(set(told[name])) or ["not tried"]))
        for name in calls
    }


def send(targets: list[tuple[str, int]]) -> str:
    """Datagrams, which need no answer; whether they came through is told by who listens there."""
    told = set()
    for target in targets:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
            try:
                door.sendto(b"out", target)
                told.add("sent")
            except OSError as error:
                told.add(said(error))
    return ", ".join(sorted(told))


def resolve(name: str) -> Outcome:
    try:
        return True, str(socket.getaddrinfo(name, 80)[0][4][0])
    except OSError as error:
        return False, type(error).__name__


def ask_name_servers(servers: list[str]) -> Outcome:
    """Send a question about a name of the world to servers that might pass it on."""
    question = (
        struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\7example\3com\0" + struct.pack(">2H", 1, 1)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.settimeout(PATIENCE)
        for server in servers:
            try:
                door.sendto(question, (server, 53))
            except OSError:
                continue
        try:
            while True:
                answer, (server, _) = door.recvfrom(512)
                if len(answer) > 8 and struct.unpack(">H", answer[6:8])[0]:
                    return True, f"{server} answered"
        except OSError as error:
            return False, f"no answer ({said(error)})"


def sixth_version() -> Outcome:
    """An address of IPv6 would be a way around rules that are of IPv4."""
    file = Path("/proc/net/if_inet6")
    lines = file.read_text().splitlines() if file.exists() else []
    own = [line.split()[5] for line in lines if line.split()[5] != "lo"]
    return bool(own), ", ".join(own) or "only on the loopback, if at all"


def privileges() -> dict[str, Outcome]:
    null = ctypes.c_void_p(None)
    now = (ctypes.c_long * 2)(int(time.time()), 0)
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    calls = {
        "become root (setuid)": lambda: os.setuid(0),
        "join root's group (setgid)": lambda: os.setgid(0),
        "mount a file system": call("mount", b"none", b"/tmp", b"tmpfs", 0, null),
        "unmount /proc": call("umount2", b"/proc", 2),
        "change the root (chroot)": call("chroot", b"/tmp"),
        "enter a namespace (setns)": call("setns", own, 0),
        "set the clock": call("settimeofday", now, null),
        "set the host name": call("sethostname", b"x", 1),
        "take a host's swap (swapon)": call("swapon", b"/tmp", 0),
        "account processes (acct)": call("acct", null),
        "raise priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
        "raise the limit on open files": lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)
        ),
        "a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
        "a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
        "make a device (mknod)": lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0)),
        "escape being killed for memory": lambda: Path("/proc/self/oom_score_adj").write_text(
            "-900"
        ),
        # From here on it may be somewhere else.
        "a user namespace (unshare)": call("unshare", NEW_USER),
        "a mount namespace (unshare)": call("unshare", NEW_NAMESPACE),
        "a network namespace (unshare)": call("unshare", NEW_NETWORK),
    }
    found = {name: refused(act) for name, act in calls.items()}
    held = int(status["CapEff"], 16) | int(status["CapBnd"], 16)
    found["hold a capability"] = (bool(held), f"CapEff and CapBnd are {held:x}")
    found["run without seccomp"] = (status["Seccomp"] != "2", f"Seccomp is {status['Seccomp']}")
    return found


def set_user_id(program: str) -> Outcome:
    """A program of root's in the image, which anybody else would run as root."""
    ask = "import os; print(os.geteuid())"
    done = subprocess.run([program, "-c", ask], capture_output=True, text=True, check=False)
    return done.stdout.strip() == "0", f"it runs as {done.stdout.strip()}"


def surroundings() -> dict[str, Outcome]:
    """Processes, devices and files of the host."""
    own = [one for one in Path("/proc").iterdir() if one.name.isdigit()]
    first = Path("/proc/1/comm").read_text().strip()
    devices = [
        "/dev/mem",
        "/dev/kmsg",
        "/dev/sda",
        "/dev/vda",
        "/dev/kvm",
        "/dev/fuse",
        "/dev/loop0",
    ]
    kernel = [
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/net/ipv4/ip_forward",
        "/sys/fs/cgroup/memory/release_agent",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory.max",
        "/sys/kernel/uevent_helper",
    ]
    sockets = ["/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/systemd/private"]
    return {
        "see or trace processes of the host": (
            len(own) > 64 or first == "systemd",
            f"{len(own)} seen",
        ),
        "trace the first process (ptrace)": refused(call("ptrace", PTRACE_ATTACH, 1, None, None))
        if first == "systemd"
        else (False, f"it is the container's own ({first})"),
        "open a device of the host": any_of(devices, os.O_RDWR),
        "write to the kernel's files": any_of(kernel, os.O_WRONLY),
        "read the kernel's memory map": any_of(["/proc/kcore", "/proc/vmallocinfo"], os.O_RDONLY),
        "open the engine's socket": any_of(sockets, os.O_RDWR, socket_at),
    }


def socket_at(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(path)


def any_of(paths: list[str], flags: int, opened: Callable[[str], object] | None = None) -> Outcome:
    through, told = [], set()
    for path in paths:
        try:
            if opened:
                opened(path)
            else:
                descriptor = os.open(path, flags)
                empty = flags == os.O_RDONLY and not os.read(descriptor, 1)
                os.close(descriptor)
                if empty:
                    continue
            through.append(path)
        except OSError as error:
            told.add(said(error))
    return bool(through), ", ".join(through or sorted(told))


def write_outside(allowed: list[str]) -> Outcome:
    """Make a file in every directory that there is; what may be written is told beforehand."""
    through = []
    for folder, inner, _ in os.walk("/"):
        if folder in ("/proc", "/sys", *allowed):
            inner.clear()
            continue
        try:
            descriptor, path = tempfile.mkstemp(dir=folder)
            os.close(descriptor)
            Path(path).unlink()
            through.append(folder)
        except OSError:
            continue
    return bool(through), ", ".join(through[:5]) or "nowhere"


def bounded() -> dict[str, Outcome]:
    """Takes all that it gets of what has a limit of its own; through is more than is allowed."""
    return {
        "a fork bomb": most(fork, 512, "processes"),
        "all open files": most(lambda: os.open("/proc/self/stat", os.O_RDONLY), 5000, "files"),
        "fill /tmp": fill("/tmp", 64),
    }


CHILDREN: list[int] = []


def fork() -> None:
    if not (child := os.fork()):
        time.sleep(20)
        os._exit(0)
    CHILDREN.append(child)


def most(act: Callable[[], object], too_many: int, unit: str) -> Outcome:
    count, why = 0, ""
    kept = []
    while count < too_many and not why:
        try:
            kept.append(act())
            count += 1
        except OSError as error:
            why = said(error)
    for child in CHILDREN:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    CHILDREN.clear()
    for descriptor in kept:
        if isinstance(descriptor, int):
            os.close(descriptor)
    return not why, f"{why or 'no end'} after {count} {unit}"


def fill(folder: str, too_many_mb: int) -> Outcome:
    path, megabytes, why = Path(folder) / "fill", 0, ""
    try:
        with path.open("wb", buffering=0) as file:
            while megabytes < too_many_mb:
                file.write(bytes(1 << 20))
                megabytes += 1
    except OSError as error:
        why = said(error)
    path.unlink(missing_ok=True)
    return not why, f"{why or 'no end'} after {megabytes} MB"


def main(asked: dict[str, object]) -> dict[str, object]:
    found = connect(asked["calls"])  # type: ignore[arg-type]
    found |= {f"resolve {why}": resolve(name) for why, name in asked["names"].items()}  # type: ignore[attr-defined]
    found["have a name of the world resolved"] = ask_name_servers(asked["servers"])  # type: ignore[arg-type]
    found["an address of IPv6"] = sixth_version()
    sent = send([tuple(target) for target in asked["datagrams"]])  # type: ignore[attr-defined]
    if not asked.get("network_only"):
        found |= privileges() | surroundings()
        found["write outside the allowed places"] = write_outside(asked["files"])  # type: ignore[arg-type]
        if program := asked.get("set_user_id"):
            found["run a set-user-id program of root's"] = set_user_id(str(program))
        found |= bounded()
    return {"found": found, "datagrams": sent}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
