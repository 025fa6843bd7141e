"""Creation of a sandbox: manifest, copies of templates, supervisor, services."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandboxes.runtime import (
    CommandCheck,
    EngineRefused,
    HttpCheck,
    NotReady,
    Report,
    SandboxFacts,
    SandboxSpec,
    ServiceNotFound,
    ServiceSpec,
    TcpCheck,
)
from sandboxes.runtime.process import process_table, save_points
from sandboxes.runtime.process.environment import chown_tree
from sandboxes.runtime.process.exec_and_logs import ExecAndLogs
from sandboxes.runtime.process.observe import Observer
from sandboxes.runtime.process.ports import PortAllocator, ReservedPorts
from sandboxes.runtime.process.state_dir import Manifest, SandboxDir
from sandboxes.runtime.process.supervisor.proxy import OWN_ADDRESS
from sandboxes.runtime.readiness import require_running, succeeds, timeout_error

ROOT = Path(__file__).resolve().parents[3]
SUPERVISOR = ("-m", "sandboxes.runtime.process.supervisor")
POLL_INTERVAL_SECONDS = 0.02
REPORT_INTERVAL_SECONDS = 1.0
RESPONSE_TIMEOUT_SECONDS = 1.0
START_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 5.0
REKEY_SECONDS = 10.0
"""Time limit of one attempt; the launch reports nothing meanwhile."""
LOCK_TIMEOUT_SECONDS = 3.0
"""A supervisor without a lock by then has ended."""


class Timer:
    """Time limit of a launch."""

    def __init__(self, seconds: float, report: Report) -> None:
        self.seconds, self._report = seconds, report
        self._ends = time.monotonic() + seconds
        self._reported_at = time.monotonic()

    def wait(self, step: str) -> bool:
        """Wait for a moment; return whether there is time left."""
        time.sleep(POLL_INTERVAL_SECONDS)
        now = time.monotonic()
        if now - self._reported_at > REPORT_INTERVAL_SECONDS:
            self._reported_at = now
            self._report(step)
        return now < self._ends


@dataclass(frozen=True)
class Creator:
    """Creates sandboxes or their missing parts."""

    allocator: PortAllocator
    observer: Observer
    commands: ExecAndLogs

    def create(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        timer = Timer(timeout, report)
        report("network")
        if self.allocator.home.sandbox(spec.id).supervisor() is None:
            self._end_leftovers(spec.id)
        with ReservedPorts() as reserved:
            directory, manifest = self.allocator.ensure_manifest(spec, reserved)
            report("containers")
            self._start(spec, directory, manifest, reserved, timer)
        if spec.save_point:
            self._rekey(spec, timer)
        report("ready")
        return self._wait_until_ready(spec, manifest, timer)

    def _start(
        self,
        spec: SandboxSpec,
        directory: SandboxDir,
        manifest: Manifest,
        reserved: ReservedPorts,
        timer: Timer,
    ) -> None:
        supervisor, before = directory.supervisor(), _stamp(directory)
        if supervisor is None:
            (directory.path / "state.json").unlink(missing_ok=True)
            for service in spec.services:
                self._copy_data(directory, manifest, service, spec.save_point)
            start_supervisor(directory, reserved)
            # The supervisor has them now, and waits until they are closed here.
            reserved.release()
        elif any(
            entry["exit_code"] is not None for entry in directory.state()["services"].values()
        ):
            if process := process_table.processes().get(supervisor):
                process_table.send_signal(process, signal.SIGHUP)
        else:
            return
        started = time.monotonic()
        while _stamp(directory) in (0, before):
            timed_out = time.monotonic() - started > LOCK_TIMEOUT_SECONDS
            if not timer.wait("containers") or (timed_out and directory.supervisor() is None):
                raise NotReady("The services couldn't be started; see supervisor.log.")

    def _rekey(self, spec: SandboxSpec, timer: Timer) -> None:
        """Set the sandbox's own credentials in the data of its save point. Raises NotReady."""
        for service in spec.services:
            command = service.process.rekey if service.process else ()
            check = CommandCheck(service.name, command)
            while command:
                try:
                    code, output = self.commands.run(spec.id, service.name, command, REKEY_SECONDS)
                except (EngineRefused, ServiceNotFound) as error:
                    code, output = 1, str(error)
                if code == 0:
                    break
                self._all_running(spec)
                if not timer.wait("containers"):
                    raise timeout_error(check, timer.seconds, output)

    def _end_leftovers(self, sandbox_id: str) -> None:
        """End processes that outlived their supervisor and would hold its ports and data."""
        if not process_table.end_all(
            lambda: self.observer.members(sandbox_id), STOP_TIMEOUT_SECONDS
        ):
            raise EngineRefused("The sandbox's processes can't be stopped.")

    def _copy_data(
        self, directory: SandboxDir, manifest: Manifest, service: ServiceSpec, save_point: str
    ) -> None:
        """Create the service's own directory from its template, or from a save point."""
        work = directory.work(service.name)
        if work.exists():
            return
        draft = work.with_name(f".{service.name}-{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        if save_point:
            save_points.copy(self.allocator.home.save_point(save_point) / service.name, draft)
        else:
            template = self.allocator.templates.find(service.image)
            assert template
            # Only contents: modes of files don't matter in a directory that others can't enter.
            shutil.copytree(template / "data", draft, copy_function=shutil.copyfile)
        draft.chmod(0o700)
        chown_tree(draft, manifest.user)
        draft.rename(work)

    def _wait_until_ready(
        self, spec: SandboxSpec, manifest: Manifest, timer: Timer
    ) -> SandboxFacts:
        own = {(s.name, port.name): port.own for s in manifest.services for port in s.ports}
        pending = [c for c in spec.ready if isinstance(c, HttpCheck | TcpCheck)]
        facts = self._all_running(spec)
        # To the services' own ports, so checks don't count as activity.
        while pending := [
            c
            for c in pending
            if not succeeds(c, OWN_ADDRESS, own[c.service, c.port], RESPONSE_TIMEOUT_SECONDS)
        ]:
            facts = self._all_running(spec)
            if not timer.wait("ready"):
                raise timeout_error(pending[0], timer.seconds)
        return self._all_running(spec) if spec.ready else facts

    def _all_running(self, spec: SandboxSpec) -> SandboxFacts:
        facts = self.observer.observe_one(spec.id)
        for service in spec.services:
            require_running(service.name, facts.services.get(service.name) if facts else None)
        assert facts
        return facts


def start_supervisor(directory: SandboxDir, reserved: ReservedPorts) -> None:
    """Start the sandbox's supervisor, which inherits the reserved ports.

    It runs detached from this process. Raises EngineRefused.
    """
    manifest = directory.manifest()
    assert manifest
    marks = {process_table.INSTANCE: manifest.instance, process_table.SANDBOX: manifest.sandbox}
    descriptors = [listener.fileno() for listener in reserved.sockets]
    # Not a pipe that a service put there: opening it would wait for ever.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(directory.path / "supervisor.log", flags, 0o600), "ab") as log:
        try:
            subprocess.run(
                [sys.executable, *SUPERVISOR, str(directory.path), *map(str, descriptors)],
                pass_fds=descriptors,
                cwd=directory.path,
                env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"} | marks,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                timeout=START_TIMEOUT_SECONDS,
                check=True,
            )
        except subprocess.SubprocessError as error:
            raise EngineRefused(
                f"The supervisor of the sandbox can't be started: {error}"
            ) from error


def _stamp(directory: SandboxDir) -> int:
    """Return a number that changes whenever the supervisor writes the state of its services."""
    with suppress(FileNotFoundError):
        return (directory.path / "state.json").stat().st_mtime_ns
    return 0
