"""Runtime settings in the admin."""

from __future__ import annotations

import time

import pytest
from django.db import OperationalError, connection
from django.urls import reverse

from sandboxes.core.limits import get_limits
from sandboxes.models import AuditEntry, Pool, RuntimeSettings
from sandboxes.models.runtime_settings import CACHE_SECONDS, RUNTIME_SETTINGS, config
from tests.helpers.scenarios import request, sweep

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime")]


def choose(admin_client, **values: object):
    url = reverse("admin:sandboxes_runtimesettings_changelist")
    page = admin_client.get(url, follow=True)
    return admin_client.post(
        page.redirect_chain[-1][0], {"reason": "Busy week."} | values, follow=True
    )


def test_a_setting_overrides_the_environment_at_once(admin_client, alice):
    choose(
        admin_client,
        SANDBOX_TTL_MINUTES=45,
        SANDBOX_MAX_PER_USER=7,
        SANDBOX_MEMORY_OVERCOMMIT="2.5",
    )

    assert request(alice).ttl_minutes == 45
    assert get_limits(alice).max_active == 7
    assert config.SANDBOX_MEMORY_OVERCOMMIT == 2.5


def test_an_empty_field_restores_the_environment_default(admin_client, alice):
    choose(admin_client, SANDBOX_MAX_PER_USER=7)
    choose(admin_client)

    assert get_limits(alice).max_active == 3
    changes = [entry.changes for entry in AuditEntry.objects.order_by("id")]
    assert changes == [
        {"SANDBOX_MAX_PER_USER": ["", "7"]},
        {"SANDBOX_MAX_PER_USER": ["7", ""]},
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SANDBOX_MAX_PER_USER", "0"),
        ("SANDBOX_MAX_PER_USER", "many"),
        ("SANDBOX_TTL_MINUTES", "121"),
        ("SANDBOX_TTL_MIN_MINUTES", "61"),
        ("SANDBOX_POOL_MAX_AGE_MINUTES", "1441"),
        ("SANDBOX_MAX_SITE", "5000"),
        ("SANDBOX_MEMORY_OVERCOMMIT", "0"),
    ],
)
def test_inconsistent_values_are_rejected_with_their_name(admin_client, name, value):
    page = choose(admin_client, **{name: value})

    assert name in page.context["adminform"].form.errors
    assert RuntimeSettings.current().overrides == {}
    assert not AuditEntry.objects.exists()


def test_signup_can_be_closed_and_opened(admin_client, client):
    choose(admin_client, ACCOUNT_SIGNUP_OPEN="False")
    admin_client.logout()
    assert "Invitation required" in client.get("/accounts/signup/").content.decode()


def test_the_page_shows_all_settings_with_their_defaults(admin_client):
    page = admin_client.get(reverse("admin:sandboxes_runtimesettings_changelist"), follow=True)
    fields = page.context["adminform"].form.fields

    shown = [name for _, one in page.context["adminform"].fieldsets for name in one["fields"]]
    assert set(shown) == set(fields) == {*RUNTIME_SETTINGS, "reason"}
    assert "Environment default: 60." in page.content.decode()


def test_the_default_pool_follows_the_settings(admin_client):
    pool = Pool(blueprint="billing")
    choose(admin_client, SANDBOX_POOL_SIZE=4, SANDBOX_POOL_MAX_AGE_MINUTES=30)

    assert (pool.target_size, pool.max_age.total_seconds()) == (4, 1800)


def tune(**values: object) -> None:
    """Change settings as another process would."""
    RuntimeSettings.objects.update_or_create(pk=1, defaults={"overrides": values})


def test_other_processes_reload_settings_every_few_seconds(
    client, alice, monkeypatch, django_assert_num_queries
):
    client.force_login(alice)
    client.get("/")
    tune(SANDBOX_MAX_PER_USER=7)
    with django_assert_num_queries(0):
        config.refresh()
    assert config.SANDBOX_MAX_PER_USER == 3

    later = time.monotonic() + CACHE_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    client.get("/")
    assert config.SANDBOX_MAX_PER_USER == 7


def test_a_sweep_reloads_settings(alice):
    tune(SANDBOX_RETENTION_DAYS=7)
    sweep()
    assert config.SANDBOX_RETENTION_DAYS == 7


def test_other_settings_cannot_be_overridden():
    tune(SECRET_KEY="known", SANDBOX_RUNTIME="docker")
    config.refresh()
    assert config.SANDBOX_RUNTIME == "memory"
    assert config.SECRET_KEY != "known"


def test_settings_keep_their_values_without_the_database(monkeypatch):
    tune(SANDBOX_MAX_PER_USER=7)
    config.refresh()
    later = time.monotonic() + CACHE_SECONDS

    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("it is gone")

    monkeypatch.setattr(time, "monotonic", lambda: later)
    monkeypatch.setattr(connection, "cursor", refuse)
    config.refresh()
    assert config.SANDBOX_MAX_PER_USER == 7
