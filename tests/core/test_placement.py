"""New sandboxes are spread over engines by rows alone; one that can't take them gets none."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from sandboxes import blueprints
from sandboxes.core import limits
from sandboxes.lib.exceptions import QuotaExceeded, Unavailable
from sandboxes.models import Engine, Sandbox
from tests.helpers.scenarios import launch, pooled, reconcile_pool, reload, request, sweep

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engines")]


@pytest.fixture(autouse=True)
def _many_each(settings) -> None:
    settings.SANDBOX_MAX_PER_USER = 40
    settings.SANDBOX_POOL_SIZE = 0


def change(name: str, **values: Any) -> None:
    Engine.objects.get(name=name).store(**values)


def placed(alice, count: int) -> Counter[str]:
    """Return how many of these launches each engine gets."""
    return Counter(request(alice).engine_name for _ in range(count))


def test_launches_are_spread_evenly_over_equal_engines(alice):
    assert placed(alice, 30) == {"default": 10, "east": 10, "west": 10}


def test_an_engine_gets_sandboxes_by_its_memory_and_weight(alice):
    Engine.objects.update(memory_mb=3 * 1024)
    change("east", weight=200)
    change("west", weight=1)
    found = placed(alice, 12)
    assert found["east"] > found["default"] > found["west"] == 0


@pytest.mark.parametrize(
    "values",
    [
        {"draining_since": timezone.now()},
        {"away_since": timezone.now()},
        {"removed_at": timezone.now()},
        {"images": {}},
        {"disk_free_mb": 100},
        {"memory_available_mb": 10},
        {"memory_mb": 1024, "weight": 1000},
    ],
    ids=lambda values: next(iter(values)),
)
def test_an_engine_that_cannot_take_a_sandbox_gets_none(alice, values):
    Sandbox.objects.filter(pk=request(alice).pk).update(engine="east")
    change("east", **values)
    assert placed(alice, 4) == {"default": 2, "west": 2}


def test_without_an_engine_that_takes_sandboxes_launches_are_refused(alice):
    Engine.objects.update(draining_since=timezone.now())
    with pytest.raises(Unavailable, match="No machine takes new sandboxes"):
        request(alice)


def test_a_blueprint_is_only_launched_on_engines_with_its_labels(alice, monkeypatch):
    wanted = replace(blueprints.load("billing"), engine_selector={"disk": "ssd", "zone": "eu"})
    monkeypatch.setattr(blueprints, "available", lambda: {"billing": wanted})
    change("east", labels={"disk": "ssd", "zone": "eu", "cpu": "arm"})
    change("west", labels={"disk": "ssd"})
    assert placed(alice, 3) == {"east": 3}

    change("east", draining_since=timezone.now())
    with pytest.raises(Unavailable, match="No machine takes new sandboxes"):
        request(alice)


def test_launches_wait_for_engines_that_are_all_away(alice):
    Engine.objects.update(away_since=timezone.now())
    assert placed(alice, 3).total() == 3


def test_the_portal_is_full_when_all_engines_are(alice, settings):
    settings.SANDBOX_MEMORY_OVERCOMMIT = 1.0
    Engine.objects.update(memory_mb=1024 + 2 * blueprints.load("billing").memory_mb)
    assert placed(alice, 6) == {"default": 2, "east": 2, "west": 2}

    with pytest.raises(QuotaExceeded) as refused:
        request(alice)
    assert (refused.value.scope, refused.value.active) == ("site", 6)
    assert limits.quota_blocker(alice)


def test_the_pool_is_spread_and_the_least_loaded_engine_is_claimed_from(alice, settings):
    settings.SANDBOX_POOL_SIZE = 3
    sweep()
    assert sorted(row.engine_name for row in pooled()) == ["default", "east", "west"]

    change("west", weight=500)
    assert request(alice).engine_name == "west"


def test_the_pool_of_a_draining_engine_ends_and_what_runs_there_lives_on(alice, settings):
    running = launch(alice)
    settings.SANDBOX_POOL_SIZE = 3
    sweep()
    change("default", draining_since=timezone.now())
    reconcile_pool()
    sweep()

    assert {row.engine_name for row in pooled()} == {"east", "west"}
    assert running.engine_name == "default"
    assert reload(running).state == "running"
