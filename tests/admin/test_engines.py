"""Engines in the admin: overview, draining, removing and adding, with the reason of each."""

from __future__ import annotations

import pytest
from django.urls import reverse

from sandboxes.models import AuditEntry, Engine
from sandboxes.runtime import EngineUnreachable
from tests.harness.engines import Engines
from tests.helpers.admin import messages_of, page_of, run_action
from tests.helpers.scenarios import launch, reload, sweep

pytestmark = pytest.mark.django_db

ENGINES = reverse("admin:sandboxes_engine_changelist")
ADD = reverse("admin:sandboxes_engine_add")
NORTH = {
    "name": "north",
    "address": "unix:///run/north.sock",
    "publish_address": "192.0.2.9",
    "public_host": "",
    "weight": "50",
    "labels": "disk=ssd, zone=eu",
    "reason": "More room.",
}


@pytest.fixture
def running(alice, engines: Engines, settings):
    """Return a sandbox on the engine west."""
    settings.SANDBOX_POOL_SIZE = 0
    Engine.objects.get(name="west").store(weight=1000)
    return launch(alice)


def west() -> Engine:
    return Engine.objects.get(name="west")


def last_entry() -> tuple[str, str, str]:
    return AuditEntry.objects.values_list("action", "subject", "reason").latest("pk")


def test_operators_see_each_engine_with_as_many_queries_for_three_as_for_one(
    admin_client, running, django_assert_num_queries, django_assert_max_num_queries
):
    sweep()
    admin_client.get(ENGINES)
    Engine.objects.filter(name="east").update(removed_at="2026-01-01T00:00Z")
    with django_assert_max_num_queries(12) as few:
        admin_client.get(ENGINES)
    Engine.objects.update(removed_at=None)
    with django_assert_num_queries(len(few)):
        page = admin_client.get(ENGINES).text

    assert '<td class="field-sandboxes">1</td>' in page
    assert f"{running.memory_mb:,} of" in page
    assert page.count('<td class="field-status">active</td>') == 3


def test_an_engine_is_drained_with_a_reason_and_activated_again(admin_client, running):
    run_action(admin_client, "drain", west(), reason="New disk.")
    assert last_entry() == ("drain", "west", "New disk.")
    assert "draining: 1 left, up to" in admin_client.get(ENGINES).text
    assert reload(running).state == "running"

    run_action(admin_client, "activate", west(), reason="Done.")
    assert west().state == "active"


def test_an_engine_with_sandboxes_is_only_removed_if_they_are_given_up(admin_client, running):
    page = run_action(admin_client, "remove", west(), reason="Sold.")
    assert "The engine west has 1 sandboxes" in messages_of(page)[0]

    run_action(admin_client, "remove", west(), reason="Burned down.", force="on")
    assert last_entry() == ("remove", "west", "Burned down.")
    assert AuditEntry.objects.latest("pk").changes == {"force": ["", "True"]}
    assert reload(running).end_reason == "lost"
    assert "west" not in admin_client.get(ENGINES).text


def test_weight_and_labels_are_changed_with_a_reason(admin_client, engines):
    page = page_of(west())
    values = {"weight": "7", "labels": "disk=ssd", "reason": ""}
    assert "This field is required" in admin_client.post(page, values).text
    answer = admin_client.post(page, values | {"labels": "disk", "reason": "Old."})
    assert "Write labels as key=value" in answer.text

    admin_client.post(page, values | {"reason": "Old."})
    assert (west().weight, west().labels) == (7, {"disk": "ssd"})
    entry = AuditEntry.objects.latest("pk")
    assert entry.changes == {"weight": ["100", "7"], "labels": ["", "disk=ssd"]}


def test_an_engine_is_added_after_the_checks_of_the_command(admin_client, runtime, monkeypatch):
    assert "machine publishes" not in admin_client.get(ADD).text
    answer = admin_client.post(ADD, NORTH | {"address": "http://192.0.2.9"})
    assert "Use tcp://HOST:PORT or unix:///PATH." in answer.text
    with monkeypatch.context() as patch:
        silent = EngineUnreachable("No answer.")
        patch.setattr(type(runtime), "capabilities", lambda _: (_ for _ in ()).throw(silent))
        assert "No engine answers there" in admin_client.post(ADD, NORTH).text
    assert not Engine.objects.filter(name="north").exists()

    answer = admin_client.post(ADD, NORTH, follow=True)
    assert "was added successfully" in messages_of(answer)[0]
    north = Engine.objects.get(name="north")
    assert (north.weight, north.labels) == (50, {"disk": "ssd", "zone": "eu"})
    assert last_entry() == ("add", "north", "More room.")
    assert AuditEntry.objects.count() == 1
    assert "There is an engine north already" in admin_client.post(ADD, NORTH).text
