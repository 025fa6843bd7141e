"""The scenes of a portal's life in which a process is killed, and who plays in them."""

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
"""Of each sandbox."""


class Cast:
    """Alice, who asks for sandboxes, and the portal's processes."""

    def __init__(self, processes: Processes) -> None:
        call_command("migrate", verbosity=0)
        call_command("createcachetable")
        User.objects.create_user("alice", "alice@example.com")
        self.processes = processes

    def running(self) -> str:
        """The id of a sandbox that runs; of a new one if there is none."""
        row = Sandbox.objects.running().order_by("pk").last()
        if row is None:
            self.launched()
            self.processes.do("deliver")
            row = Sandbox.objects.running().order_by("pk").last()
        assert row, "a sandbox that nobody disturbed does not run"
        return row.public_id

    def launched(self) -> None:
        self.pool_of(0)
        self.processes.do("launch")

    def pool_of(self, size: int) -> None:
        Pool.objects.update_or_create(blueprint="tiny", defaults={"size": size, "retry_at": None})

    def room_in_the_pool(self) -> None:
        self.pool_of(Sandbox.objects.pooled().count() + 1)

    def stocked(self) -> None:
        self.room_in_the_pool()
        self.processes.do("stock")

    def asked_for_a_reset(self) -> None:
        self.processes.do("ask_to_reset", self.running())

    def asked_for_an_end(self) -> None:
        self.processes.do("ask_to_end", self.running())

    def due(self) -> None:
        """One is over, another was never taken up by a worker."""
        over = Sandbox.objects.get(public_id=self.running())
        past = over.created_at - timedelta(hours=1)
        Sandbox.objects.filter(pk=over.pk).update(expires_at=past)
        self.launched()
        self.processes.later += 11


def _empty_pool(cast: Cast) -> None:
    cast.pool_of(0)


SCENES: dict[str, tuple[Callable[[Cast], None], str]] = {
    "launch": (_empty_pool, "launch"),
    "provision": (Cast.launched, "deliver"),
    "stock the pool": (Cast.room_in_the_pool, "stock"),
    "claim": (Cast.stocked, "launch"),
    "reset": (Cast.asked_for_a_reset, "deliver"),
    "tear down": (Cast.asked_for_an_end, "deliver"),
    "sweep": (Cast.due, "sweep"),
}
"""What goes before, undisturbed, and the act of the one process that is killed."""


def rehearse(cast: Cast) -> dict[str, dict[str, int]]:
    """How many calls, statements and messages each scene has when nobody is killed."""
    passed: dict[str, dict[str, int]] = {}
    for name, kinds in fault_schedule.SCENES.items():
        prepare, act = SCENES[name]
        prepare(cast)
        outcome = cast.processes.do(act)
        passed[name] = {kind: outcome.passed.get(kind, 0) for kind in kinds}
        cast.processes.do("deliver")
    return passed


def waiting() -> bool:
    """Whether a sandbox is neither there nor gone, or waits for a worker."""
    between = Q(state__in=(State.PENDING, State.PROVISIONING, State.DESTROYING))
    work = Q(lease_until__isnull=False) | Q(reset_requested_at__isnull=False)
    return Sandbox.objects.live().filter(between | work).exists()
