"""The scenarios in which a process is killed, and what prepares them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import Q

from sandboxes.models import Pool, Sandbox, State
from tests.chaos import fault_schedule
from tests.chaos.processes import Processes

SERVICES = 2
"""Number of services of each sandbox."""


class ScenarioHarness:
    """A database with a user, and the portal's processes."""

    def __init__(self, processes: Processes) -> None:
        call_command("migrate", verbosity=0)
        call_command("createcachetable")
        User.objects.create_user("alice", "alice@example.com")
        self.processes = processes

    def running_sandbox(self) -> str:
        """Return the id of a running sandbox, a new one if there is none."""
        row = Sandbox.objects.running().order_by("pk").last()
        if row is None:
            self.launch()
            self.processes.run("process_queue")
            row = Sandbox.objects.running().order_by("pk").last()
        assert row, "a sandbox doesn't run although no fault was injected"
        return row.public_id

    def launch(self) -> None:
        self.set_pool_size(0)
        self.processes.run("launch")

    def set_pool_size(self, size: int) -> None:
        Pool.objects.update_or_create(blueprint="tiny", defaults={"size": size, "retry_at": None})

    def grow_pool(self) -> None:
        self.set_pool_size(Sandbox.objects.pooled().count() + 1)

    def fill_pool(self) -> None:
        self.grow_pool()
        self.processes.run("fill_pool")

    def request_reset(self) -> None:
        self.processes.run("request_reset", self.running_sandbox())

    def request_destroy(self) -> None:
        self.processes.run("request_destroy", self.running_sandbox())

    def make_due(self) -> None:
        """Let one sandbox expire, and launch another whose message no worker processes."""
        expired = Sandbox.objects.get(public_id=self.running_sandbox())
        past = expired.created_at - timedelta(hours=1)
        Sandbox.objects.filter(pk=expired.pk).update(expires_at=past)
        self.launch()
        self.processes.clock_offset += 11


def _disable_pool(harness: ScenarioHarness) -> None:
    harness.set_pool_size(0)


SCENARIOS: dict[str, tuple[Callable[[ScenarioHarness], None], str]] = {
    "launch": (_disable_pool, "launch"),
    "provision": (ScenarioHarness.launch, "process_queue"),
    "fill pool": (ScenarioHarness.grow_pool, "fill_pool"),
    "claim": (ScenarioHarness.fill_pool, "launch"),
    "reset": (ScenarioHarness.request_reset, "process_queue"),
    "destroy": (ScenarioHarness.request_destroy, "process_queue"),
    "sweep": (ScenarioHarness.make_due, "sweep"),
}
"""The preparation, without faults, and the operation whose process is killed."""


def count_points(harness: ScenarioHarness) -> dict[str, dict[str, int]]:
    """Run each scenario without faults; return its numbers of points by kind."""
    counts: dict[str, dict[str, int]] = {}
    for name, kinds in fault_schedule.SCENARIOS.items():
        prepare, operation = SCENARIOS[name]
        prepare(harness)
        outcome = harness.processes.run(operation)
        counts[name] = {kind: outcome.counts.get(kind, 0) for kind in kinds}
        harness.processes.run("process_queue")
    return counts


def has_unfinished_work() -> bool:
    """Return whether any sandbox is in a transitional state or waits for a worker."""
    transitional = Q(state__in=(State.PENDING, State.PROVISIONING, State.DESTROYING))
    waiting = Q(leased_until__isnull=False) | Q(reset_requested_at__isnull=False)
    return Sandbox.objects.live().filter(transitional | waiting).exists()
