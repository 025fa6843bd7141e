"""Processes of the portal that are started, and killed at the point that was picked."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.chaos.fault_schedule import CALL, Point
from tests.chaos.operations import Fuse, run
from tests.relay import Call, DockerProxy, Fault

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

LONGEST_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    """How a process went: whether it was killed, else what it gave back and passed."""

    killed: bool
    value: Any = None
    passed: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Running:
    process: ForkServerProcess
    answer: Connection

    def wait(self, proxy: DockerProxy) -> Outcome:
        """Raises AssertionError when it failed, or was not done in time."""
        pid = self.process.pid or 0
        try:
            value, passed = self.answer.recv() if self.answer.poll(LONGEST_SECONDS) else (None, {})
        except EOFError:
            value, passed = None, {}
        self.process.join(LONGEST_SECONDS)
        code = self.process.exitcode
        assert code in (0, -signal.SIGKILL), f"a process ended with {code}"
        return Outcome(
            code != 0, value, Counter(passed) + Counter({CALL: proxy.calls_made_by(pid)})
        )


class Processes:
    """Starts what the portal's processes do, as many at once as is wanted.

    `later` is how far the portal's clock is ahead, in seconds: what is to be over then need not
    be waited for.
    """

    def __init__(self, proxy: DockerProxy) -> None:
        self.proxy, self.later = proxy, 0.0
        self._faults: dict[int, Mapping[int, Fault]] = {}
        proxy.fault_for = self._fault_for
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.chaos.operations"])

    def _fault_for(self, call: Call) -> Fault | None:
        return self._faults.get(call.pid, {}).get(call.number)

    def start(
        self,
        act: str,
        *arguments: Any,
        at: Point | None = None,
        faults: Mapping[int, Fault] | None = None,
    ) -> Running:
        """It is killed `at` that point; `faults` befall its calls of these numbers."""
        ours, theirs = self._context.Pipe()
        planned, fuse = dict(faults or {}), Fuse()
        if at and at.kind == CALL:
            planned[at.number] = Fault.KILL_AFTER if at.after else Fault.KILL_BEFORE
        elif at:
            fuse = Fuse(at.kind, at.number, at.after)
        process = self._context.Process(
            target=run, args=(act, list(arguments), self.later, fuse, theirs)
        )
        process.start()
        theirs.close()
        self._faults[process.pid or 0] = planned
        ours.send("go")
        return Running(process, ours)

    def do(
        self,
        act: str,
        *arguments: Any,
        at: Point | None = None,
        faults: Mapping[int, Fault] | None = None,
    ) -> Outcome:
        """Start it, and wait for its end."""
        return self.start(act, *arguments, at=at, faults=faults).wait(self.proxy)

    def value(self, act: str, *arguments: Any) -> Any:
        """What it gives back when nobody kills it."""
        return self.do(act, *arguments).value
