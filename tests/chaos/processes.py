"""Processes of the portal that experiments start, and kill at chosen points."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.chaos.fault_schedule import CALL, Point
from tests.chaos.operations import KillSwitch, run
from tests.fakes.docker_proxy import Call, DockerProxy, Fault

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    """Whether a process was killed; if not, its result and its counts of points by kind."""

    killed: bool
    value: Any = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass
class RunningProcess:
    process: ForkServerProcess
    pipe: Connection

    def wait(self, proxy: DockerProxy) -> Outcome:
        """Wait for the end. Raises AssertionError if the process failed or took too long."""
        pid = self.process.pid or 0
        try:
            value, counts = self.pipe.recv() if self.pipe.poll(TIMEOUT_SECONDS) else (None, {})
        except EOFError:
            value, counts = None, {}
        self.process.join(TIMEOUT_SECONDS)
        code = self.process.exitcode
        assert code in (0, -signal.SIGKILL), f"a process ended with {code}"
        calls = Counter({CALL: proxy.calls_made_by(pid)})
        return Outcome(code != 0, value, Counter(counts) + calls)


class Processes:
    """Starts operations of the portal, each in a process of its own.

    `clock_offset` is how many seconds the portal's clock is ahead, so that experiments don't have
    to wait until something expires.
    """

    def __init__(self, proxy: DockerProxy) -> None:
        self.proxy, self.clock_offset = proxy, 0.0
        self._faults: dict[int, Mapping[int, Fault]] = {}
        proxy.fault_for = self._fault_for
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.chaos.operations"])

    def _fault_for(self, call: Call) -> Fault | None:
        return self._faults.get(call.pid, {}).get(call.number)

    def start(
        self,
        operation: str,
        *arguments: Any,
        at: Point | None = None,
        faults: Mapping[int, Fault] | None = None,
    ) -> RunningProcess:
        """Start an operation. It is killed `at` the point; `faults` affect its n-th calls."""
        ours, theirs = self._context.Pipe()
        planned, kill_switch = dict(faults or {}), KillSwitch()
        if at and at.kind == CALL:
            planned[at.number] = Fault.KILL_AFTER if at.after else Fault.KILL_BEFORE
        elif at:
            kill_switch = KillSwitch(at.kind, at.number, at.after)
        process = self._context.Process(
            target=run, args=(operation, list(arguments), self.clock_offset, kill_switch, theirs)
        )
        process.start()
        theirs.close()
        self._faults[process.pid or 0] = planned
        ours.send("go")
        return RunningProcess(process, ours)

    def run(
        self,
        operation: str,
        *arguments: Any,
        at: Point | None = None,
        faults: Mapping[int, Fault] | None = None,
    ) -> Outcome:
        """Start an operation and wait for its end."""
        return self.start(operation, *arguments, at=at, faults=faults).wait(self.proxy)

    def result(self, operation: str, *arguments: Any) -> Any:
        """Run an operation without faults and return its result."""
        return self.run(operation, *arguments).value
