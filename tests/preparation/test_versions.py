"""Versions of blueprints: what sandboxes keep, and what operators prepare and activate."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from sandboxes import actions, blueprints
from sandboxes.actions import save_points
from sandboxes.blueprints import folders, loader
from sandboxes.lib.exceptions import Unavailable, ValidationFailed
from sandboxes.models import AuditEntry, BlueprintVersion, Sandbox, State
from sandboxes.models.runtime_settings import config
from sandboxes.preparation import images, versions
from sandboxes.worker import provisioning, resets
from tests.helpers.blueprints import tiny, write
from tests.helpers.scenarios import expire, launch, pooled, reload, request, run_on_commit, sweep

pytestmark = pytest.mark.django_db

Edit = Callable[[dict[str, Any]], object]


def blueprint(*arguments: str) -> None:
    """Run the command, with the messages that it sends to workers."""
    with run_on_commit():
        call_command("blueprint", *arguments)


@pytest.fixture
def folder(settings, tmp_path, runtime) -> Path:
    """Provide the folder of the blueprint “tiny”, the only one, which isn't prepared yet."""
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    settings.SANDBOX_DEFAULT_BLUEPRINT = "tiny"
    return write(tmp_path, tiny()).parent


@pytest.fixture
def prepared(folder, capsys) -> Path:
    blueprint("prepare")
    capsys.readouterr()
    return folder


def edit(folder: Path, change: Edit, name: str = "tiny") -> None:
    content = tiny() | {"name": name}
    change(content)
    write(folder.parent, content, name)


def retitle(content: dict[str, Any]) -> None:
    content["x-sandbox"]["title"] = "New title"


def reset_differently(content: dict[str, Any]) -> None:
    content["x-sandbox"]["reset"]["command"] = ["new", "reset"]
    content["x-sandbox"]["credentials"] = {"new_token": {"value": "${TOKEN}"}}


def break_it(content: dict[str, Any]) -> None:
    content["services"]["web"]["privileged"] = True


def active(name: str = "tiny") -> BlueprintVersion:
    return BlueprintVersion.objects.get(name=name, is_active=True)


def titles() -> list[str]:
    return [one.title for one in blueprints.available().values()]


def test_preparing_activates_a_version_with_pinned_images(folder):
    blueprint("prepare")

    assert active().images == {
        "sandboxportal/tiny-store": "sandboxportal/tiny-store#0",
        "sandboxportal/tiny-web": "sandboxportal/tiny-web#0",
    }
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject) == ("activate", str(active()))
    assert entry.actor.startswith("manage.py (")
    assert str(folder) in entry.reason


def test_preparing_an_unchanged_folder_again_makes_no_other_version(prepared, capsys):
    blueprint("prepare")

    assert BlueprintVersion.objects.count() == AuditEntry.objects.count() == 1
    assert f"tiny: version {active().short_digest} is active." in capsys.readouterr().out


def test_a_rebuilt_image_makes_a_new_version(prepared, runtime):
    before = active()
    runtime.rebuilds["sandboxportal/tiny-web"] += 1
    blueprint("prepare")
    assert active() != before


@pytest.mark.parametrize("change", [reset_differently, break_it, None])
def test_a_sandbox_keeps_the_version_that_it_was_launched_with(
    alice, prepared, runtime, monkeypatch, change
):
    sandbox = launch(alice)
    credentials = actions.read_credentials(sandbox, alice)
    if change:
        edit(prepared, change)
    else:
        shutil.rmtree(prepared)
        write(prepared.parent, tiny() | {"name": "other"}, "other")
    runtime.rebuilds["sandboxportal/tiny-web"] += 1
    blueprint("prepare")

    assert sweep().errors == []
    assert actions.read_credentials(reload(sandbox), alice) == credentials
    asked: list[Any] = []
    monkeypatch.setattr(runtime, "execute", lambda *all_: asked.append(all_[2]) or (0, ""))
    Sandbox.objects.update(reset_requested_at=sandbox.started_at)
    resets.reset(reload(sandbox))
    assert [list(command) for command in asked] == [["reset", "--now"]]
    actions.destroy(reload(sandbox), alice)
    sweep()
    assert reload(sandbox).state == State.DESTROYED


def test_a_launch_uses_the_images_of_its_version(alice, prepared, runtime, monkeypatch):
    sandbox = request(alice)
    runtime.rebuilds["sandboxportal/tiny-web"] += 1
    blueprint("prepare")
    created = []
    monkeypatch.setattr(runtime, "create", lambda spec, *_: created.append(spec) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        provisioning.provision(reload(sandbox))
    assert {service.image for service in created[0].services} == {
        "sandboxportal/tiny-store#0",
        "sandboxportal/tiny-web#0",
    }


def test_a_new_version_replaces_the_sandboxes_of_the_pool(prepared, settings):
    settings.SANDBOX_POOL_SIZE = 1
    sweep()
    [old] = pooled()
    edit(prepared, retitle)

    blueprint("prepare")

    [new] = pooled()
    assert new.blueprint_version == active() != old.blueprint_version


def test_an_operator_rolls_back_until_the_folder_changes_again(prepared, capsys):
    first = active()
    edit(prepared, retitle)
    blueprint("prepare")
    assert titles() == ["New title"]

    blueprint("activate", "tiny", first.digest[:6], "--reason", "It broke.")
    assert titles() == ["Tiny stack"]
    assert AuditEntry.objects.latest("id").reason == "It broke."

    blueprint("prepare")
    assert active() == first
    assert f"{first.short_digest} stays active" in capsys.readouterr().out

    edit(prepared, lambda content: content["x-sandbox"].update(title="Third"))
    blueprint("prepare")
    assert titles() == ["Third"]


def test_a_version_whose_images_are_gone_is_not_activated(prepared, runtime, capsys):
    first = active()
    edit(prepared, retitle)
    runtime.rebuilds["sandboxportal/tiny-web"] += 1
    blueprint("prepare")
    runtime.missing_images.add("sandboxportal/tiny-web#0")
    second = active()

    with pytest.raises(CommandError, match=r"no longer has all images.*blueprint prepare tiny"):
        call_command("blueprint", "activate", "tiny", first.digest)
    assert active() == second
    capsys.readouterr()
    call_command("blueprint", "list")
    assert "images missing" in capsys.readouterr().out

    runtime.missing_images.clear()
    blueprint("activate", "tiny", first.digest)
    assert active() == first


def test_a_folder_that_is_changed_back_activates_its_earlier_version(prepared):
    first = active()
    edit(prepared, retitle)
    blueprint("prepare")
    edit(prepared, lambda _: None)
    blueprint("prepare")
    assert active() == first
    assert BlueprintVersion.objects.count() == 2


def test_a_version_can_be_prepared_without_activating_it(prepared):
    first = active()
    edit(prepared, retitle)
    blueprint("prepare", "--no-activate")
    assert active() == first

    blueprint("activate", "tiny")
    assert titles() == ["New title"]


def test_a_faulty_blueprint_is_left_out_and_the_others_go_on(prepared, alice, capsys):
    edit(prepared, break_it)
    write(prepared.parent, tiny() | {"name": "other"}, "other")

    blueprint("prepare")

    assert list(blueprints.available()) == ["other", "tiny"]
    assert request(alice).blueprint_version == active()
    warned = capsys.readouterr().err
    assert "services.web.privileged" in warned
    with pytest.raises(CommandError, match="Not prepared: tiny"):
        call_command("blueprint", "prepare", "tiny")


def test_a_blueprint_without_its_images_is_left_out(prepared, runtime, capsys):
    runtime.missing_images.add("sandboxportal/tiny-web")
    edit(prepared, retitle)
    before = active()

    blueprint("prepare")

    assert active() == before
    assert "doesn't have the image sandboxportal/tiny-web" in capsys.readouterr().err


def test_a_removed_folder_withdraws_its_blueprint(alice, prepared, capsys):
    write(prepared.parent, tiny() | {"name": "other"}, "other")
    blueprint("prepare")
    shutil.rmtree(prepared)
    # A database can't compare names that aren't in UTF-8.
    (prepared.parent / os.fsdecode(b"caf\xe9")).mkdir()

    blueprint("prepare")

    assert list(blueprints.available()) == ["other"]
    with pytest.raises(ValidationFailed, match="Unknown blueprint"):
        request(alice)
    assert "tiny: withdrawn" in capsys.readouterr().out
    assert AuditEntry.objects.latest("id").action == "withdraw"


def test_an_empty_folder_withdraws_nothing(prepared, settings, tmp_path):
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path / "nowhere"
    blueprint("prepare")
    assert titles() == ["Tiny stack"]


def test_own_blueprints_are_beside_the_shipped_one_or_replace_it(
    folder, settings, tmp_path, runtime
):
    settings.SANDBOX_SHIPPED_BLUEPRINTS = True
    blueprint("prepare")
    assert set(blueprints.available()) == {"billing", "tiny"}

    shutil.rmtree(folder)
    write(tmp_path, tiny() | {"name": "billing"}, "billing")
    blueprint("prepare")
    assert titles() == ["Tiny stack"]
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path / "not mounted"
    blueprint("prepare")
    assert len(titles()) == 1

    settings.SANDBOX_BLUEPRINTS_DIR = str(loader.SHIPPED)
    assert folders.directories() == (loader.SHIPPED,)


def test_a_disabled_blueprint_launches_nothing_until_it_is_activated(alice, prepared):
    blueprint("disable", "tiny", "--reason", "Under repair.")
    with pytest.raises(Unavailable, match="temporarily disabled"):
        request(alice)
    assert AuditEntry.objects.latest("id").reason == "Under repair."
    with pytest.raises(CommandError, match="already disabled"):
        call_command("blueprint", "disable", "tiny")

    blueprint("activate", "tiny")
    assert request(alice).state == State.PENDING
    with pytest.raises(CommandError, match="already active"):
        call_command("blueprint", "activate", "tiny")


def test_two_commands_do_not_prepare_a_blueprint_at_once(prepared, monkeypatch, capsys):
    """Each could remove images that the other one has just made."""

    def ensure(*_: object, **__: object) -> None:
        with folder_handle() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @contextmanager
    def folder_handle():
        descriptor = os.open(prepared, os.O_RDONLY)
        yield descriptor
        os.close(descriptor)

    monkeypatch.setattr(images, "ensure", ensure)
    blueprint("prepare")
    with folder_handle() as free:
        fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)
        threading.Timer(0.2, fcntl.flock, (free, fcntl.LOCK_UN)).start()
        blueprint("prepare")
    assert "tiny: waiting for another command" in capsys.readouterr().out


def test_an_unmigrated_database_is_explained(prepared):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sandboxes_blueprintversion RENAME TO elsewhere")
    with pytest.raises(CommandError, match=r"can't be used: .*manage\.py migrate"):
        call_command("blueprint", "list")


def test_versions_are_listed(prepared, alice, capsys):
    launch(alice)
    edit(prepared, retitle)
    blueprint("prepare")
    capsys.readouterr()

    call_command("blueprint", "list")

    _, new, old = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (new[2], new[-1]) == ("active", "0")
    assert (old[2], old[-1]) == ("previous", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["activate", "shop"], "No version of a blueprint “shop”"),
        (["activate", "tiny", "zzz"], "give one of its versions"),
        (["activate", "tiny", "--reason", "x" * 201], "at most 200 characters"),
        (["prepare", "shop"], "Not prepared: shop"),
    ],
)
def test_an_invalid_argument_is_explained(prepared, arguments, message):
    with pytest.raises(CommandError, match=message):
        call_command("blueprint", *arguments)


def test_before_the_first_version_the_folder_applies(alice, folder):
    config.reload()
    sandbox = launch(alice)
    assert sandbox.blueprint_version is None

    blueprint("prepare")

    assert reload(sandbox).blueprint_version == active()


def test_a_process_notices_an_activation_within_seconds(prepared, monkeypatch):
    """Another process changes the rows; this one asks the database again after 3 seconds."""
    blueprints.available()
    now = 1000.0
    monkeypatch.setattr("sandboxes.models.runtime_settings.time.monotonic", lambda: now)
    config.reload()
    BlueprintVersion.objects.update(is_active=False)
    now += 2
    config.refresh()
    assert titles() == ["Tiny stack"]
    now += 2
    config.refresh()
    assert titles() == []


def test_an_unreadable_version_leaves_the_other_blueprints(prepared, alice):
    sandbox = launch(alice)
    write(prepared.parent, tiny() | {"name": "other"}, "other")
    blueprint("prepare", "other")
    broken = "f" * 32
    BlueprintVersion.objects.create(name="bad", digest=broken, document="{}", images={"a": "b"})
    BlueprintVersion.objects.filter(digest=broken).update(is_active=True)
    Sandbox.objects.filter(pk=sandbox.pk).update(blueprint_version=broken)
    config.reload()

    assert list(blueprints.available()) == ["other", "tiny"]
    assert sweep().errors == []
    actions.destroy(reload(sandbox), alice)
    sweep()
    assert reload(sandbox).state == State.DESTROYED


def test_images_that_sandboxes_or_a_rollback_need_are_kept(prepared, runtime, alice):
    launch(alice)
    for _ in range(3):
        runtime.rebuilds["sandboxportal/tiny-web"] += 1
        blueprint("prepare")
    kept = versions.needed_images()
    assert kept == {
        "sandboxportal/tiny-store#0",
        "sandboxportal/tiny-web#0",
        "sandboxportal/tiny-web#2",
        "sandboxportal/tiny-web#3",
    }


def test_images_of_services_that_a_save_point_started_with_are_kept(prepared, runtime, alice):
    sandbox = launch(alice)
    with run_on_commit():
        save_points.create(sandbox, "before", alice)
    with run_on_commit():
        actions.destroy(reload(sandbox), alice)
    assert reload(sandbox).state == State.DESTROYED
    for _ in range(3):
        runtime.rebuilds["sandboxportal/tiny-web"] += 1
        blueprint("prepare")
    assert "sandboxportal/tiny-web#0" in versions.needed_images()


def test_a_sweep_from_cron_says_what_is_left_out_and_succeeds(alice, prepared, capsys):
    sandbox = launch(alice)
    edit(prepared, break_it)
    expire(sandbox)

    call_command("reap_sandboxes", skip_checks=False)

    assert reload(sandbox).state == State.DESTROYED
    assert "services.web.privileged" in capsys.readouterr().err


def test_superseded_versions_are_deleted_once_no_row_refers_to_them(prepared, alice, settings):
    kept = request(alice).blueprint_version
    for title in ("Second", "Third"):
        edit(prepared, lambda content, title=title: content["x-sandbox"].update(title=title))
        blueprint("prepare")
    old = timezone.now() - timedelta(days=settings.SANDBOX_RETENTION_DAYS + 1)
    BlueprintVersion.objects.filter(is_active=False).update(prepared_at=old, activated_at=old)

    blueprint("prepare")

    assert set(BlueprintVersion.objects.all()) == {kept, active()}
