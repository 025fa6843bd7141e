"""Engines that are away for long: notify owners, and end removals without the engine."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from django.db import transaction

from sandboxes.core import journal, lifecycle
from sandboxes.core.fleet import Fleet
from sandboxes.lib import clock
from sandboxes.models import EventKind, Sandbox, State

AWAY = "The machine that runs it doesn't respond. Replace the sandbox, or wait for its return."
BACK = "Its machine responds again."


def handle(rows: Iterable[Sandbox], fleet: Fleet, answered: Collection[str]) -> None:
    """Notify owners that their sandboxes are unreachable, or that they are back.

    Removals from an engine that is away for long end now: if the engine returns, the objects there
    are orphans.
    """
    away = {name: one for name, one in fleet.away_for_long.items() if name not in answered}
    for row in rows:
        if engine := away.get(row.engine_name):
            if row.state == State.RUNNING and row.unreachable_since is None:
                assert engine.away_since
                _report_away(row, engine.away_since)
            elif row.state == State.DESTROYING:
                lifecycle.mark_destroyed(row)
        elif row.unreachable_since and row.engine_name in answered:
            _report_back(row)


@transaction.atomic
def _report_away(row: Sandbox, since: datetime) -> None:
    running = Sandbox.objects.running().filter(unreachable_since=None)
    if running.claim(row.pk, unreachable_since=since):
        row.unreachable_since = since
        journal.record(row, EventKind.UNREACHABLE, AWAY)


@transaction.atomic
def _report_back(row: Sandbox) -> None:
    """Restart the idle timer, too: its owner could not use the sandbox."""
    values = {
        "unreachable_since": None,
        "last_activity_at": clock.now_or_later(row.last_activity_at),
    }
    running = Sandbox.objects.running().filter(unreachable_since=row.unreachable_since)
    if running.claim(row.pk, **values):
        for name, value in values.items():
            setattr(row, name, value)
        journal.record(row, EventKind.REACHABLE, BACK)
