"""Celery task for a sweep that an operator requests."""

from __future__ import annotations

from celery import shared_task

from sandboxes.reaper.sweep import Sweep


@shared_task(name="sandboxes.sweeping.sweep")
def sweep() -> None:
    Sweep().run()
