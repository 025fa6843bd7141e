"""Supervisor of one sandbox: `python -m sandboxes.runtime.process.supervisor DIRECTORY`.

Starts the services, forwards callers' traffic, measures usage and records the state of each
service. SIGTERM stops all services; SIGHUP starts those that have stopped. The portal alone decides
how long the sandbox lives.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandboxes.runtime.process import process_table
from sandboxes.runtime.process.state_dir import Manifest, SandboxDir, Service
from sandboxes.runtime.process.supervisor.logfile import truncate_log
from sandboxes.runtime.process.supervisor.proxy import OWN_ADDRESS, TrafficCounter, listen
from sandboxes.runtime.process.supervisor.rlimits import (
    PR_SET_CHILD_SUBREAPER,
    make_preexec,
    prctl,
    set_oom_score,
)

LOCK_TIMEOUT_SECONDS = 2.0
RELEASE_TIMEOUT_SECONDS = 10.0
STOP_TIMEOUT_SECONDS = 0.5
KILL_TIMEOUT_SECONDS = 5.0
MEASURE_INTERVAL_SECONDS = 1.0
NOT_FOUND = 127


@dataclass
class ManagedService:
    """A service that was started."""

    pid: int
    exit_code: int | None = None
    out_of_memory: bool = False


class Supervisor:
    """Runs the sandbox in a directory that has a manifest."""

    def __init__(
        self, directory: SandboxDir, manifest: Manifest, reserved: Sequence[socket.socket] = ()
    ) -> None:
        self.directory, self.manifest = directory, manifest
        self._reserved = {listener.getsockname()[1]: listener for listener in reserved}
        self.managed: dict[str, ManagedService] = {}
        self.stopping = asyncio.Event()
        self._started: list[subprocess.Popen[bytes]] = []
        self._boot = process_table.boot_id()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stopping.set)
        loop.add_signal_handler(signal.SIGINT, self.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self.start)
        loop.add_signal_handler(signal.SIGCHLD, self.collect_exited)
        counter = TrafficCounter(self.directory)
        address, reserved = self.manifest.address, self._reserved
        servers = [
            await listen(address, port, counter, reserved.pop(port.published, None))
            for port in self.manifest.ports
        ]
        # The other ports are for the services, which listen on them from now on.
        for port, listener in reserved.items():
            listener.close()
            await wait_until_released(port)
        self.start()
        measuring = asyncio.create_task(self.measure())
        await self.stopping.wait()
        measuring.cancel()
        for server in servers:
            server.close()
        await self.stop()

    def start(self) -> None:
        """Start every service that isn't running."""
        for service in self.manifest.services:
            managed = self.managed.get(service.name)
            if managed is None or managed.exit_code is not None:
                self.managed[service.name] = self._start(service)
        self.write_state()

    def _start(self, service: Service) -> ManagedService:
        user, disk_mb = self.manifest.user, self.manifest.disk_mb
        with self.directory.log(service.name).open("ab") as log:
            try:
                process = subprocess.Popen(
                    service.command,
                    cwd=self.directory.work(service.name),
                    env=dict(service.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    umask=0o077,
                    user=user,
                    group=user,
                    extra_groups=None if user is None else [],
                    # Safe here: this process has no other thread.
                    preexec_fn=make_preexec(service, disk_mb, user),  # noqa: PLW1509
                )
            except (OSError, subprocess.SubprocessError) as error:
                log.write(f"{service.command[0]} can't be started: {error}\n".encode())
                return ManagedService(0, NOT_FOUND)
        set_oom_score(process.pid)
        self._started.append(process)
        return ManagedService(process.pid)

    def collect_exited(self) -> None:
        """Record the exit of services, and collect orphaned processes that they left."""
        changed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            for managed in self.managed.values():
                if managed.pid == pid and managed.exit_code is None:
                    code = os.waitstatus_to_exitcode(status)
                    managed.exit_code = code if code >= 0 else 128 - code
                    changed = True
        if changed:
            self.write_state()

    def write_state(self) -> None:
        services = {
            name: {
                "pid": managed.pid,
                "exit_code": managed.exit_code,
                "out_of_memory": managed.out_of_memory,
            }
            for name, managed in self.managed.items()
        }
        self.directory.write_state({"boot": self._boot, "services": services})

    async def measure(self) -> None:
        """Enforce limits that the kernel doesn't: a service's memory and number of processes."""
        while True:
            await asyncio.sleep(MEASURE_INTERVAL_SECONDS)
            everything = process_table.processes()
            for service in self.manifest.services:
                managed = self.managed[service.name]
                if managed.exit_code is None:
                    self._enforce_limits(
                        service, managed, process_table.descendants(managed.pid, everything)
                    )
                truncate_log(self.directory.log(service.name))

    def _enforce_limits(
        self, service: Service, managed: ManagedService, processes: list[process_table.Process]
    ) -> None:
        memory_mb = sum(process.memory_mb for process in processes)
        managed.out_of_memory = memory_mb > service.memory_mb
        if managed.out_of_memory or len(processes) > service.pids:
            with self.directory.log(service.name).open("a") as log:
                log.write(
                    f"Killed: used {memory_mb:.0f} MB in {len(processes)} processes; the limit is "
                    f"{service.memory_mb} MB in {service.pids} processes.\n"
                )
            for process in processes:
                process_table.send_signal(process, signal.SIGKILL)

    async def stop(self) -> None:
        """Ask every service to stop, then kill all remaining processes."""
        everything = process_table.processes()
        for service in self.manifest.services:
            managed = self.managed[service.name]
            if managed.exit_code is None and managed.pid in everything:
                process_table.send_signal(
                    everything[managed.pid], signal.Signals[service.stop_signal]
                )
        ends = time.monotonic() + STOP_TIMEOUT_SECONDS
        while time.monotonic() < ends and any(k.exit_code is None for k in self.managed.values()):
            await asyncio.sleep(0.005)
        process_table.end_all(self._children, KILL_TIMEOUT_SECONDS)

    def _children(self) -> list[process_table.Process]:
        self.collect_exited()
        return process_table.descendants(os.getpid(), process_table.processes())[1:]


async def wait_until_released(port: int) -> None:
    """Wait until no process listens on a service's port; the portal may still have the socket."""
    ends = time.monotonic() + RELEASE_TIMEOUT_SECONDS
    while time.monotonic() < ends:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((OWN_ADDRESS, port))
            probe.listen()
            return
        await asyncio.sleep(0.005)


def take_lock(directory: SandboxDir) -> bool:
    """Return whether this is the sandbox's supervisor now; it holds the lock until it ends."""
    descriptor = os.open(directory.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    ends = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another supervisor has it, or a process that checks whether one runs.
            if time.monotonic() > ends:
                return False
            time.sleep(0.005)
        else:
            os.truncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            return True


def main(path: str, *descriptors: str) -> int:
    os.umask(0o077)
    # Detached: it outlives the process that started it.
    if os.fork():
        return 0
    directory = SandboxDir(Path(path))
    prctl(PR_SET_CHILD_SUBREAPER)
    manifest = directory.manifest()
    if manifest is None or not take_lock(directory):
        return 1
    reserved = [socket.socket(fileno=int(descriptor)) for descriptor in descriptors]
    asyncio.run(Supervisor(directory, manifest, reserved).run())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
