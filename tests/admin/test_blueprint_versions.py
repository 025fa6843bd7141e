"""Versions of blueprints in the admin."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.urls import reverse

from sandboxes import blueprints
from sandboxes.models import AuditEntry, BlueprintVersion, Pool, Sandbox
from tests.helpers.admin import messages_of, page_of, run_action
from tests.helpers.blueprints import tiny, write
from tests.helpers.scenarios import launch, run_on_commit, sweep

pytestmark = pytest.mark.django_db

VERSIONS = reverse("admin:sandboxes_blueprintversion_changelist")


@pytest.fixture
def folder(settings, tmp_path):
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    settings.SANDBOX_DEFAULT_BLUEPRINT = "tiny"
    return tmp_path


@pytest.fixture
def versions(folder, runtime) -> list[BlueprintVersion]:
    """Prepare two versions; the second one is active."""
    for title in ("First", "Second"):
        content = tiny()
        content["x-sandbox"]["title"] = title
        write(folder, content)
        with run_on_commit():
            call_command("blueprint", "prepare")
    return list(BlueprintVersion.objects.order_by("pk"))


def title_in_force() -> str:
    return blueprints.load("tiny").title


def test_operators_see_the_versions_and_their_sandboxes(admin_client, alice, versions):
    launch(alice)

    page = admin_client.get(VERSIONS).content.decode()
    states = [page.index(f'<td class="field-status">{state}') for state in ("active", "previous")]
    assert states == sorted(states)
    assert '<td class="field-live">1</td>' in page

    details = admin_client.get(page_of(versions[1])).content.decode()
    assert "Second" in details
    assert "web: 128 MB, 0.25 CPUs<" in details
    assert versions[1].digest in details
    assert "384 MB memory, 0.75 CPUs, 2048 MB disk" in details


def test_an_operator_rolls_back_at_once(admin_client, versions):
    first, _ = versions
    page = run_action(admin_client, "activate", first, reason="The second one is slow.")

    assert title_in_force() == "First"
    assert "activated" in messages_of(page)[0]
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.actor, entry.subject, entry.reason) == (
        "activate",
        "olga@example.com",
        str(first),
        "The second one is slow.",
    )
    again = run_action(admin_client, "activate", first, reason="Again.")
    assert "already active" in messages_of(again)[0]
    assert AuditEntry.objects.latest("id") == entry


def test_a_version_whose_images_are_gone_is_shown_and_not_activated(
    admin_client, versions, runtime
):
    BlueprintVersion.objects.filter(pk=versions[0].pk).update(images={"tiny-web": "gone"})
    runtime.missing_images.add("gone")
    sweep()

    assert "images missing" in admin_client.get(VERSIONS).content.decode()
    page = run_action(admin_client, "activate", versions[0], reason="Try it.")
    assert "no longer has all images" in messages_of(page)[0]
    assert title_in_force() == "Second"


def test_services_that_may_run_as_root_are_shown(admin_client, versions, folder, settings):
    settings.SANDBOX_ROOT_SERVICES = True
    content = tiny()
    content["x-sandbox"]["root"] = ["store"]
    write(folder, content)
    call_command("blueprint", "prepare")

    details = admin_client.get(page_of(BlueprintVersion.objects.latest("pk"))).content.decode()
    assert "store: 256 MB, 0.5 CPUs, may run as root" in details
    assert "web: 128 MB, 0.25 CPUs<" in details


def test_an_operator_disables_a_blueprint_and_enables_it_again(admin_client, alice, versions):
    sandbox = launch(alice)
    run_action(admin_client, "disable", versions[1], reason="Broken.")
    assert Pool.objects.get(blueprint="tiny").switched_off
    assert Sandbox.objects.running().get() == sandbox
    assert AuditEntry.objects.latest("id").reason == "Broken."
    assert "disabled" in admin_client.get(VERSIONS).content.decode()

    run_action(admin_client, "activate", versions[1], reason="Repaired.")
    assert not Pool.objects.get(blueprint="tiny").switched_off


def test_a_version_that_this_release_cannot_read_is_not_activated(admin_client, versions):
    bad = BlueprintVersion.objects.create(name="tiny", digest="f" * 32, document="{}", images={})
    page = run_action(admin_client, "activate", bad, reason="Try it.")

    assert "can't be read" in messages_of(page)[0]
    assert title_in_force() == "Second"
    assert "can't read the version" in admin_client.get(page_of(bad)).content.decode().replace(
        "&#x27;", "'"
    )


def test_versions_cannot_be_added_changed_or_deleted(admin_client, versions):
    assert admin_client.get(reverse("admin:sandboxes_blueprintversion_add")).status_code == 403
    assert admin_client.post(page_of(versions[0]), {"name": "x"}).status_code == 403


def test_faulty_files_are_shown_with_their_remedy(admin_client, folder, versions):
    broken = tiny()
    broken["services"]["web"]["privileged"] = True
    write(folder, broken | {"name": "broken"}, "broken")

    warnings = messages_of(admin_client.get(VERSIONS))
    assert any("services.web.privileged" in text and "Remove" in text for text in warnings)
    assert "services.web.privileged" in admin_client.get("/admin/").content.decode()
    assert title_in_force() == "Second"
