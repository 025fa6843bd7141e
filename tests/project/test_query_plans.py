"""Query plans of the most frequent queries: each uses an index instead of a full scan."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from sandboxes.admin.search import search_events, search_sandboxes
from sandboxes.models import Event, Sandbox, State, UsageSample
from tests.harness import bulk_data

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.db.models import QuerySet

pytestmark = pytest.mark.store

COUNT = 3000


@pytest.fixture(scope="module")
def people(threads_database: None, django_db_blocker: Any) -> tuple[User, User]:
    """Return a user with half of all sandboxes, and one with a few."""
    users = get_user_model().objects
    with django_db_blocker.unblock():
        heavy = users.create_user("heavy", "heavy@example.com")
        light = users.create_user("light", "light@example.com")
        bulk_data.create_running(30, users.create_user("busy", "busy@example.com"))
        bulk_data.create_running(2, heavy)
        bulk_data.create_running(2, light)
        bulk_data.create_ended(COUNT, {heavy: COUNT // 2, light: 20})
    return heavy, light


def _history_from(user: User) -> QuerySet[Sandbox]:
    ended = user.sandboxes.ended().order_by("-ended_at", "-pk")
    last = ended[10]
    behind = ended.filter(ended_at__lte=last.ended_at)
    return behind.exclude(ended_at=last.ended_at, pk__gte=last.pk)[:21]


QUESTIONS = {
    "dashboard: live": ("sandbox_live", lambda u: u.sandboxes.live().newest_first()),
    "dashboard: ended": (
        "sandbox_history",
        lambda u: u.sandboxes.ended().order_by("-ended_at", "-id")[:3],
    ),
    "history, behind a cursor": ("sandbox_history", _history_from),
    "estimate": (
        "sandbox_by_age",
        lambda _: Sandbox.objects.newest_first().only("blueprint", "steps")[:60],
    ),
    "samples of one sandbox": (
        "sample_by_sandbox",
        lambda u: u.sandboxes.first().samples.order_by("pk"),
    ),
    "limits": ("sandbox_of_owner", lambda u: u.sandboxes.active()),
    "API list": ("sandbox_by_owner", lambda u: u.sandboxes.newest_first()[:51]),
    "API list of a state": (
        "sandbox_of_owner",
        lambda u: u.sandboxes.filter(state__in=[State.FAILED]).newest_first()[:51],
    ),
    "sweep": ("sandbox_by_state", lambda _: Sandbox.objects.live()),
    "pruning": (
        "sandbox_ended",
        lambda _: (
            Sandbox.objects.ended()
            .filter(ended_at__lt=timezone.now() - timedelta(days=88))
            .order_by("ended_at")
            .values_list("pk")[:500]
        ),
    ),
    "admin list": ("sandbox_by_age", lambda _: Sandbox.objects.newest_first()[:50]),
    "admin list of a state": (
        "sandbox_by_state",
        lambda _: Sandbox.objects.filter(state=State.FAILED).newest_first()[:50],
    ),
    "admin list by end": (
        "sandbox_by_end",
        lambda _: Sandbox.objects.filter(end_reason="lost").newest_first()[:50],
    ),
    "admin search by owner": (
        "sandbox_by_owner",
        lambda _: search_sandboxes(Sandbox.objects.newest_first(), "light@")[:50],
    ),
    "journal": ("event_by_sandbox", lambda u: u.sandboxes.first().events.order_by("-id")),
    "admin events by kind": (
        "event_by_kind",
        lambda _: search_events(Event.objects.order_by("-id"), "reset")[:50],
    ),
    "samples of late": (
        "sandboxes_usagesample_at",
        lambda _: UsageSample.objects.filter(at__gt=timezone.now()).order_by(),
    ),
}
"""Queries, and the index that SQLite, which has no statistics here, must use."""


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("who", ["heavy", "light"])
def test_the_most_frequent_queries_use_an_index(
    people: tuple[User, User], django_db_blocker: Any, who: str, name: str
) -> None:
    index, ask = QUESTIONS[name]
    with django_db_blocker.unblock():
        plan = ask(people[who == "light"]).explain()
        vendor = connection.vendor

    if vendor == "sqlite":
        assert index in plan, plan
        # The index also provides the order, except for the sweep's few rows.
        assert "TEMP B-TREE" not in plan, plan
    elif "sample" not in name:  # PostgreSQL doesn't use an index of an empty table.
        assert "Seq Scan" not in plan, plan
