"""The scenes of a portal's life in which a process is killed, and who plays in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command

from sandboxes.models import Pool, Sandbox, State
from tests.chaos.processes import CALL, MESSAGE, STATEMENT, Processes

SERVICES = 2
"""Of each sandbox."""


@dataclass(frozen=True)
class Scene:
    """What goes before, undisturbed, and the act of the one process that is killed."""

    name: str
    prepare: Callable[[Cast], None]
    act: str
    kinds: tuple[str, ...] = (CALL, STATEMENT, MESSAGE)


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


SCENES = [
    Scene("launch", lambda cast: cast.pool_of(0), "launch", (STATEMENT, MESSAGE)),
    Scene("provision", Cast.launched, "deliver"),
    Scene("stock the pool", Cast.room_in_the_pool, "stock", (CALL, STATEMENT)),
    Scene("claim", Cast.stocked, "launch", (STATEMENT, MESSAGE)),
    Scene("reset", Cast.asked_for_a_reset, "deliver", (CALL, STATEMENT)),
    Scene("tear down", Cast.asked_for_an_end, "deliver", (CALL, STATEMENT)),
    Scene("sweep", Cast.due, "sweep"),
]


def rehearse(cast: Cast) -> dict[str, dict[str, int]]:
    """How many calls, statements and messages each scene has when nobody is killed."""
    passed: dict[str, Any] = {}
    for scene in SCENES:
        scene.prepare(cast)
        outcome = cast.processes.do(scene.act)
        passed[scene.name] = {kind: outcome.passed.get(kind, 0) for kind in scene.kinds}
        cast.processes.do("deliver")
    return passed


def waiting() -> int:
    """Sandboxes that are neither there nor gone."""
    between = (State.PENDING, State.PROVISIONING, State.DESTROYING)
    return Sandbox.objects.filter(state__in=between).count()
