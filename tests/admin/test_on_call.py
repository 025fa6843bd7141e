"""The admin for operators on call: restrictions, logs, usage, exact times, settings in words."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.lib import clock
from sandboxes.models import Maintenance, Pool, UsageSample
from sandboxes.worker import tasks as worker_tasks
from tests.helpers.admin import SANDBOXES, page_of
from tests.helpers.scenarios import launch, run_on_commit
from tests.helpers.web import text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.models import Sandbox
    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]

ALL_WELL = "Nothing needs attention."


def monitor(sandbox: Sandbox) -> str:
    return reverse("admin:sandboxes_sandbox_monitor", args=[sandbox.pk])


def test_maintenance_mode_is_shown_instead_of_a_clean_bill(admin_client: Client) -> None:
    until = clock.now() + timedelta(hours=2)
    Maintenance.store(until=until)
    page = text(admin_client.get("/admin/"))
    expected = f"{until:%-d %b %Y, %H:%M:%S} UTC"
    assert f"Maintenance mode: new launches are refused until {expected}." in page
    assert ALL_WELL not in page


def test_a_disabled_blueprint_is_shown(admin_client: Client) -> None:
    Pool.objects.update_or_create(blueprint="billing", defaults={"switched_off": True})
    page = text(admin_client.get("/admin/"))
    assert "The blueprint billing is disabled: it can't be launched." in unescape(page)
    assert ALL_WELL not in page


def test_an_operator_reads_logs_and_usage_of_a_running_sandbox(
    admin_client: Client, alice: User, runtime: MemoryRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = launch(alice, name="checkout")
    runtime.write_log(sandbox.public_id, "api", f"key {sandbox.secrets['API_KEY']} used")

    def read(_sandbox: Sandbox, service: str, lines: int) -> str:
        return str(worker_tasks.read_logs(sandbox.public_id, service, lines)["text"])

    monkeypatch.setattr("sandboxes.actions.logs.read_log", read)
    values = {"cpu_seconds": 1, "received_bytes": 1, "sent_bytes": 1}
    UsageSample.objects.create(sandbox=sandbox, memory_mb=173, **values)

    assert monitor(sandbox) in admin_client.get(page_of(sandbox)).content.decode()
    page = text(admin_client.get(monitor(sandbox), {"service": "api"}))
    assert "Logs and usage of checkout" in page
    assert "key ••• used" in page
    assert "173.0" in page


def test_the_page_of_an_ended_sandbox_has_the_kept_log(admin_client: Client, alice: User) -> None:
    sandbox = launch(alice)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    page = text(admin_client.get(monitor(sandbox)))
    assert "api started" in page
    assert "saved when the sandbox ended" in page


def test_a_log_that_cannot_be_read_says_why(admin_client: Client, alice: User) -> None:
    page = text(admin_client.get(monitor(launch(alice)), {"service": "nothing"}))
    assert "Choose one of" in page


def test_logs_need_the_permission_to_view_sandboxes(client: Client, bob: User, alice: User) -> None:
    bob.is_staff = True
    bob.save()
    client.force_login(bob)
    sandbox = launch(alice)
    assert client.get(monitor(sandbox)).status_code == 403
    bob.user_permissions.add(Permission.objects.get(codename="view_sandbox"))
    assert client.get(monitor(sandbox)).status_code == 200
    assert client.get(monitor(sandbox).replace(str(sandbox.pk), "99999")).status_code == 404


def test_times_have_seconds_and_a_zone_everywhere(admin_client: Client, alice: User) -> None:
    sandbox = launch(alice)
    created = f"{sandbox.created_at:%-d %b %Y, %H:%M:%S} UTC"
    expires = f"Expires at {sandbox.expires_at:%-d %b %Y, %H:%M:%S} UTC."
    events = reverse("admin:sandboxes_event_changelist")
    for page in (SANDBOXES, page_of(sandbox)):
        shown = text(admin_client.get(page))
        assert created in shown
        assert expires in shown
    assert created in text(admin_client.get(events))


def test_settings_are_named_in_words_with_unit_and_variable(admin_client: Client) -> None:
    url = reverse("admin:sandboxes_runtimesettings_changelist")
    response: Any = admin_client.get(url, follow=True)
    page = text(response)
    assert "Idle timeout, in minutes:" in page
    assert "Environment default: 30. Variable: SANDBOX_IDLE_MINUTES ." in page
    labels = [one.label for one in response.context["adminform"].form.fields.values()]
    assert not any(label.isupper() for label in labels if label)
