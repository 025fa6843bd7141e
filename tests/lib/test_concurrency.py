"""Shares of the web process's threads for requests that wait."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from sandboxes.actions import logs
from sandboxes.api import launch
from sandboxes.api.webhooks import inbox
from sandboxes.explorer import client
from sandboxes.lib.concurrency import ConcurrencyLimit

WAITS = [
    launch.concurrent_waits,
    client.concurrency_limit,
    logs.concurrency_limit,
    inbox.concurrent_waits,
]
WITHIN_OTHERS = [client.page_limit]
"""Requests with such a slot wait only while they have one of the others, too."""


def test_a_sixth_of_the_threads_is_left_when_all_that_may_wait_do() -> None:
    assert sum(limit.total for limit in WAITS) <= settings.WEB_THREADS * 5 / 6


def test_every_share_of_the_threads_is_added_up() -> None:
    source = Path(settings.BASE_DIR, "sandboxes")
    name = f".{ConcurrencyLimit.share_of_web_threads.__name__}("
    used = sum(path.read_text().count(name) for path in source.rglob("*.py"))
    assert used == len(WAITS) + len(WITHIN_OTHERS)
