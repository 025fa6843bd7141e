"""A sweep that an operator asks for, carried out by a worker: the reaper may be asleep."""

from __future__ import annotations

from celery import shared_task

from sandboxes.reaper.sweep import Sweep


@shared_task(name="sandboxes.sweeping.sweep")
def sweep() -> None:
    Sweep().run()
