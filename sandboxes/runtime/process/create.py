"""Making a sandbox: its record, its own copy of what was prepared, its supervisor, its services."""

from __future__ import annotations

import http.client
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
    EngineRefused,
    NotReady,
    Report,
    SandboxFacts,
    SandboxSpec,
)
from sandboxes.runtime.process import process_table
from sandboxes.runtime.process.environment import chown_tree
from sandboxes.runtime.process.observe import Observer
from sandboxes.runtime.process.ports import PortAllocator, ReservedPorts
from sandboxes.runtime.process.proxy import OWN_ADDRESS
from sandboxes.runtime.process.state_dir import Manifest, SandboxDir
from sandboxes.runtime.readiness import require_running, timeout_error

ROOT = Path(__file__).resolve().parents[3]
SUPERVISOR = ("-m", "sandboxes.runtime.process.supervisor")
POLL_INTERVAL_SECONDS = 0.02
REPORT_INTERVAL_SECONDS = 1.0
RESPONSE_TIMEOUT_SECONDS = 1.0
START_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 5.0
LOCK_TIMEOUT_SECONDS = 3.0
"""A supervisor that has no lock by then has ended."""


class Timer:
    """Counts down the time that a launch may take."""

    def __init__(self, seconds: float, report: Report) -> None:
        self.seconds, self._report = seconds, report
        self._ends = time.monotonic() + seconds
        self._told = time.monotonic()

    def wait(self, step: str) -> bool:
        """Wait for a moment; whether there is time left."""
        time.sleep(POLL_INTERVAL_SECONDS)
        now = time.monotonic()
        if now - self._told > REPORT_INTERVAL_SECONDS:
            self._told = now
            self._report(step)
        return now < self._ends


@dataclass(frozen=True)
class Creator:
    """Makes sandboxes, or what is still missing of them."""

    places: PortAllocator
    observer: Observer

    def create(self, spec: SandboxSpec, report: Report, timeout: float) -> SandboxFacts:
        timer = Timer(timeout, report)
        report("network")
        if self.places.home.sandbox(spec.id).supervisor() is None:
            self._end_leftovers(spec.id)
        with ReservedPorts() as reserved:
            folder, record = self.places.record(spec, reserved)
            report("containers")
            self._start(spec, folder, record, reserved, timer)
        report("ready")
        return self._until_ready(spec, record, timer)

    def _start(
        self,
        spec: SandboxSpec,
        folder: SandboxDir,
        record: Manifest,
        reserved: ReservedPorts,
        timer: Timer,
    ) -> None:
        supervisor, before = folder.supervisor(), _stamp(folder)
        if supervisor is None:
            (folder.path / "state.json").unlink(missing_ok=True)
            for service in spec.services:
                self._fill(folder, record, service.name, service.image)
            start_supervisor(folder, reserved)
        elif any(kept["exit_code"] is not None for kept in folder.state()["services"].values()):
            if process := process_table.processes().get(supervisor):
                process_table.send_signal(process, signal.SIGHUP)
        else:
            return
        started = time.monotonic()
        while _stamp(folder) in (0, before):
            late = time.monotonic() - started > LOCK_TIMEOUT_SECONDS
            if not timer.wait("containers") or (late and folder.supervisor() is None):
                raise NotReady("The services could not be started; supervisor.log may say why.")

    def _end_leftovers(self, sandbox_id: str) -> None:
        """What outlived its supervisor would hold the ports and the data."""
        if not process_table.end_all(
            lambda: self.observer.members(sandbox_id), STOP_TIMEOUT_SECONDS
        ):
            raise EngineRefused("Processes of the sandbox can't be ended.")

    def _fill(self, folder: SandboxDir, record: Manifest, service: str, image: str) -> None:
        """The service's own directory, from what was prepared."""
        work = folder.work(service)
        if work.exists():
            return
        prepared = self.places.prepared.find(image)
        assert prepared
        draft = work.with_name(f".{service}-{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        # Contents alone: modes of single files say nothing in a directory that is closed to others.
        shutil.copytree(prepared / "data", draft, copy_function=shutil.copyfile)
        draft.chmod(0o700)
        chown_tree(draft, record.user)
        draft.rename(work)

    def _until_ready(self, spec: SandboxSpec, record: Manifest, timer: Timer) -> SandboxFacts:
        own = {(s.name, port.name): port.own for s in record.services for port in s.ports}
        pending = list(spec.ready)
        facts = self._all_running(spec)
        while pending := [c for c in pending if not responds(own[c.service, c.port], c.path)]:
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


def start_supervisor(folder: SandboxDir, reserved: ReservedPorts) -> None:
    """Start the sandbox's supervisor, which inherits the reserved ports.

    It is nobody's child as soon as this returns.
    """
    record = folder.record()
    assert record
    marks = {process_table.INSTANCE: record.instance, process_table.SANDBOX: record.sandbox}
    descriptors = [listener.fileno() for listener in reserved.sockets]
    with (folder.path / "supervisor.log").open("ab") as log:
        try:
            subprocess.run(
                [sys.executable, *SUPERVISOR, str(folder.path), *map(str, descriptors)],
                pass_fds=descriptors,
                cwd=folder.path,
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


def responds(port: int, path: str) -> bool:
    """Whether a GET is answered with 200, on the service's own port: a check is no use of it."""
    connection = http.client.HTTPConnection(OWN_ADDRESS, port, timeout=RESPONSE_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return answer.status == http.client.OK
    finally:
        connection.close()


def _stamp(folder: SandboxDir) -> int:
    """Another one whenever the supervisor has written down how its services are."""
    with suppress(FileNotFoundError):
        return (folder.path / "state.json").stat().st_mtime_ns
    return 0
