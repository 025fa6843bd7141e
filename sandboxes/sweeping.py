"""A sweep that an operator asks for, carried out by a worker: the reaper may be asleep."""

from __future__ import annotations

from celery import shared_task

from sandboxes.reaper import Sweep


@shared_task
def sweep() -> None:
    Sweep().run()
