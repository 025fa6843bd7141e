"""A program that tries to escape from the container in which it runs.

Its first argument is JSON: `connections`, the addresses and ports to connect to, by name;
`datagrams`, the addresses to send datagrams to; `names`, host names to resolve; `name_servers`;
`writable`, directories that may be written to. It prints one JSON object with the `outcomes`:
whether each attempt was successful, and how it ended.
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
TIMEOUT_SECONDS = 1.5
PTRACE_ATTACH = 16
NEW_USER, NEW_NAMESPACE, NEW_NETWORK = 0x10000000, 0x00020000, 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def error_name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "") or type(error).__name__


def attempt(function: Callable[[], object]) -> Outcome:
    """Call the function; it is blocked if it raises OSError or ValueError."""
    try:
        function()
    except OSError as error:
        return False, error_name(error)
    except ValueError as error:
        return False, str(error)
    return True, "succeeded"


def libc_call(name: str, *arguments: object) -> Callable[[], object]:
    """Return a call of a C library function that raises OSError on failure."""

    def call() -> object:
        if (result := getattr(LIBC, name)(*arguments)) < 0:
            raise OSError(ctypes.get_errno(), name)
        return result

    return call


def connect(targets: dict[str, list[tuple[str, int]]]) -> dict[str, Outcome]:
    """Connect to all targets in parallel.

    An attempt is successful if any address accepts the connection. The host's own addresses must
    not even refuse one, as that shows that they can be reached.
    """
    pending: dict[socket.socket, str] = {}
    failed: dict[str, list[str]] = {name: [] for name in targets}
    reached: dict[str, list[str]] = {name: [] for name in targets}
    for name, addresses in targets.items():
        for host, port in addresses:
            connection = socket.socket()
            connection.setblocking(False)
            if (code := connection.connect_ex((host, port))) in (0, errno.EINPROGRESS):
                pending[connection] = f"{name}\n{host}:{port}"
            else:
                failed[name].append(errno.errorcode[code])
    ends = time.monotonic() + TIMEOUT_SECONDS
    while pending and (left := ends - time.monotonic()) > 0:
        for connection in select.select([], list(pending), [], left)[1]:
            name, address = pending.pop(connection).split("\n")
            code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code or (code == errno.ECONNREFUSED and name.startswith("connect to the host")):
                reached[name].append(f"{address} {'refused' if code else 'connected'}")
            else:
                failed[name].append(errno.errorcode[code])
    for name in (entry.split("\n")[0] for entry in pending.values()):
        failed[name].append("no response")
    return {
        name: (
            bool(reached[name]),
            ", ".join(reached[name] or sorted(set(failed[name])) or ["not tried"]),
        )
        for name in targets
    }


def send_datagrams(targets: list[tuple[str, int]]) -> str:
    """Send datagrams, which need no response; only their receiver knows whether they arrived."""
    results = set()
    for target in targets:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto(b"out", target)
                results.add("sent")
            except OSError as error:
                results.add(error_name(error))
    return ", ".join(sorted(results))


def resolve(name: str) -> Outcome:
    try:
        return True, str(socket.getaddrinfo(name, 80)[0][4][0])
    except OSError as error:
        return False, type(error).__name__


def query_name_servers(servers: list[str]) -> Outcome:
    """Query servers that might resolve or forward an internet host name."""
    query = (
        struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\7example\3com\0" + struct.pack(">2H", 1, 1)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT_SECONDS)
        for server in servers:
            try:
                client.sendto(query, (server, 53))
            except OSError:
                continue
        try:
            while True:
                response, (server, _) = client.recvfrom(512)
                if len(response) > 8 and struct.unpack(">H", response[6:8])[0]:
                    return True, f"{server} responded"
        except OSError as error:
            return False, f"no response ({error_name(error)})"


def ipv6_address() -> Outcome:
    """Look for an IPv6 address, which IPv4 firewall rules wouldn't cover."""
    file = Path("/proc/net/if_inet6")
    lines = file.read_text().splitlines() if file.exists() else []
    interfaces = [line.split()[5] for line in lines if line.split()[5] != "lo"]
    return bool(interfaces), ", ".join(interfaces) or "loopback only"


def privileges() -> dict[str, Outcome]:
    null = ctypes.c_void_p(None)
    now = (ctypes.c_long * 2)(int(time.time()), 0)
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    calls = {
        "become root (setuid)": lambda: os.setuid(0),
        "join root's group (setgid)": lambda: os.setgid(0),
        "mount a file system": libc_call("mount", b"none", b"/tmp", b"tmpfs", 0, null),
        "unmount /proc": libc_call("umount2", b"/proc", 2),
        "change the root directory (chroot)": libc_call("chroot", b"/tmp"),
        "enter a namespace (setns)": libc_call("setns", namespace, 0),
        "set the clock": libc_call("settimeofday", now, null),
        "set the host name": libc_call("sethostname", b"x", 1),
        "enable swap (swapon)": libc_call("swapon", b"/tmp", 0),
        "enable process accounting (acct)": libc_call("acct", null),
        "raise the process priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
        "raise the limit on open files": lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)
        ),
        "open a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
        "open a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
        "create a device (mknod)": lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0)),
        "lower the OOM score": lambda: Path("/proc/self/oom_score_adj").write_text("-900"),
        # Last, as these change where the program runs if they succeed.
        "create a user namespace (unshare)": libc_call("unshare", NEW_USER),
        "create a mount namespace (unshare)": libc_call("unshare", NEW_NAMESPACE),
        "create a network namespace (unshare)": libc_call("unshare", NEW_NETWORK),
    }
    outcomes = {name: attempt(function) for name, function in calls.items()}
    capabilities = int(status["CapEff"], 16) | int(status["CapBnd"], 16)
    outcomes["hold a capability"] = (
        bool(capabilities),
        f"CapEff and CapBnd are {capabilities:x}",
    )
    outcomes["run without seccomp"] = (status["Seccomp"] != "2", f"Seccomp is {status['Seccomp']}")
    return outcomes


def run_setuid_program(program: str) -> Outcome:
    """Run a setuid-root program of the image."""
    code = "import os; print(os.geteuid())"
    done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() == "0", f"runs as user {done.stdout.strip()}"


def host_resources() -> dict[str, Outcome]:
    """Try to see or use processes, devices and files of the host."""
    processes = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
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
        "see processes of the host": (
            len(processes) > 64 or first == "systemd",
            f"{len(processes)} seen",
        ),
        "trace process 1 (ptrace)": attempt(libc_call("ptrace", PTRACE_ATTACH, 1, None, None))
        if first == "systemd"
        else (False, f"process 1 is the container's own ({first})"),
        "open a device of the host": open_any(devices, os.O_RDWR),
        "write to kernel files": open_any(kernel, os.O_WRONLY),
        "read kernel memory maps": open_any(["/proc/kcore", "/proc/vmallocinfo"], os.O_RDONLY),
        "open the engine's socket": open_any(sockets, os.O_RDWR, connect_to_socket),
        "connect to the hypervisor (vsock)": connect_to_hypervisor(),
    }


def connect_to_hypervisor() -> Outcome:
    """Connect to the host of a virtual machine; a refused connection is a response, too."""
    failed = set()
    for cid in (socket.VMADDR_CID_HOST, 1, 0):
        try:
            with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as client:
                client.settimeout(TIMEOUT_SECONDS)
                code = client.connect_ex((cid, 1024))
        except OSError as error:
            code = error.errno or 0
        if code in (0, errno.ECONNRESET, errno.ECONNREFUSED):
            return True, errno.errorcode.get(code, "connected")
        failed.add(errno.errorcode[code])
    return False, ", ".join(sorted(failed))


def connect_to_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def open_any(
    paths: list[str], flags: int, open_path: Callable[[str], object] | None = None
) -> Outcome:
    opened, failed = [], set()
    for path in paths:
        try:
            if open_path:
                open_path(path)
            else:
                descriptor = os.open(path, flags)
                empty = flags == os.O_RDONLY and not os.read(descriptor, 1)
                os.close(descriptor)
                if empty:
                    continue
            opened.append(path)
        except OSError as error:
            failed.add(error_name(error))
    return bool(opened), ", ".join(opened or sorted(failed))


def write_outside(writable: list[str]) -> Outcome:
    """Try to create a file in every directory except for the writable ones."""
    written = []
    for folder, subfolders, _ in os.walk("/"):
        if folder in ("/proc", "/sys", *writable):
            subfolders.clear()
            continue
        try:
            descriptor, path = tempfile.mkstemp(dir=folder)
            os.close(descriptor)
            Path(path).unlink()
            written.append(folder)
        except OSError:
            continue
    return bool(written), ", ".join(written[:5]) or "no directory"


def exceed_limits() -> dict[str, Outcome]:
    """Try to exceed the limits on processes, open files and the size of /tmp."""
    return {
        "run a fork bomb": repeat(fork, 512, "processes"),
        "open too many files": repeat(
            lambda: os.open("/proc/self/stat", os.O_RDONLY), 5000, "files"
        ),
        "fill /tmp": fill("/tmp", 64),
    }


CHILDREN: list[int] = []


def fork() -> None:
    if not (child := os.fork()):
        time.sleep(20)
        os._exit(0)
    CHILDREN.append(child)


def repeat(function: Callable[[], object], too_many: int, unit: str) -> Outcome:
    """Call the function until it fails; the attempt is successful if that takes too many calls."""
    count, error_code = 0, ""
    results = []
    while count < too_many and not error_code:
        try:
            results.append(function())
            count += 1
        except OSError as error:
            error_code = error_name(error)
    for child in CHILDREN:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    CHILDREN.clear()
    for descriptor in results:
        if isinstance(descriptor, int):
            os.close(descriptor)
    return not error_code, f"{error_code or 'no error'} after {count} {unit}"


def fill(folder: str, too_many_mb: int) -> Outcome:
    path, megabytes, error_code = Path(folder) / "fill", 0, ""
    try:
        with path.open("wb", buffering=0) as file:
            while megabytes < too_many_mb:
                file.write(bytes(1 << 20))
                megabytes += 1
    except OSError as error:
        error_code = error_name(error)
    path.unlink(missing_ok=True)
    return not error_code, f"{error_code or 'no error'} after {megabytes} MB"


def main(plan: dict[str, object]) -> dict[str, object]:
    outcomes = connect(plan["connections"])  # type: ignore[arg-type]
    outcomes |= {f"resolve {title}": resolve(name) for title, name in plan["names"].items()}  # type: ignore[attr-defined]
    outcomes["query name servers for an internet host name"] = query_name_servers(
        plan["name_servers"]  # type: ignore[arg-type]
    )
    outcomes["get an IPv6 address"] = ipv6_address()
    sent = send_datagrams([tuple(target) for target in plan["datagrams"]])  # type: ignore[attr-defined]
    if not plan.get("network_only"):
        outcomes |= privileges() | host_resources()
        outcomes["write outside the writable directories"] = write_outside(plan["writable"])  # type: ignore[arg-type]
        if program := plan.get("setuid_program"):
            outcomes["run a setuid-root program"] = run_setuid_program(str(program))
        outcomes |= exceed_limits()
    return {"outcomes": outcomes, "datagrams": sent}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
