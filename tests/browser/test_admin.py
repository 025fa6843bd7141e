"""The admin under the portal's content security policy, in a real browser."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from sandboxes import actions
from sandboxes.lib import clock
from sandboxes.lib.exceptions import Unavailable
from sandboxes.models import LimitOverride, Sandbox, State
from sandboxes.runtime import EngineRefused
from tests.browser.conftest import sign_in
from tests.conftest import PASSWORD
from tests.helpers.scenarios import (
    expire,
    launch,
    reload,
    sweep,
)

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("watch")]

SANDBOXES = "/admin/sandboxes/sandbox/"


@pytest.fixture
def olga(server: object) -> User:
    """Create an operator in a committed transaction, so that the server's threads read the row."""
    return get_user_model().objects.create_superuser("olga", "olga@example.com", PASSWORD)


@pytest.fixture
def admin_page(page: Page, olga: User) -> Page:
    """Return a page with olga signed in."""
    sign_in(page, olga)
    return page


def test_lists_are_not_cut_at_1280_pixels(admin_page: Page, alice: User, runtime) -> None:
    alice.email = "alice.with.a.long.name@engineering.example.com"
    alice.save()
    launch(alice, name="a-name-as-long-as-names-may-be-for-a-sandbox-of-a-developer")
    actions.destroy(launch(alice), alice)
    admin_page.set_viewport_size({"width": 1280, "height": 820})
    for address in (SANDBOXES, "/admin/auth/user/"):
        admin_page.goto(address)
        frame = admin_page.locator(".results")
        assert frame.evaluate("frame => frame.scrollWidth - frame.clientWidth") == 0, address


def test_operator_fixes_alerts_from_the_overview(admin_page: Page, alice: User, runtime) -> None:
    sandbox, running = launch(alice, name="Checkout"), launch(alice)
    runtime.add_orphan("sbx_orphan", clock.now() - timedelta(hours=1))
    for _ in range(2):
        runtime.fail_next("destroy", EngineRefused("Its volume is busy."))
    actions.destroy(sandbox, alice)
    sweep()
    admin_page.goto("/admin/")
    admin_page.get_by_text("Couldn't remove 1 sandbox: Its volume is busy.").wait_for()
    for button, done in (
        ("Retry removal…", "1 sandbox queued for removal."),
        ("Sweep now…", "Sweep queued."),
    ):
        admin_page.goto("/admin/")
        admin_page.get_by_role("button", name=button).click()
        expect(admin_page.get_by_label("Reason")).to_be_focused()
        admin_page.keyboard.type("On call.")
        admin_page.get_by_role("button", name=button.removesuffix("…")).click()
        admin_page.get_by_text(done).wait_for()

    admin_page.goto("/admin/")
    admin_page.get_by_text("Nothing needs attention.").wait_for()
    assert reload(sandbox).state == State.DESTROYED
    assert set(runtime.observe()) == {running.public_id}


def test_maintenance_starts_in_the_admin_and_users_see_its_message(
    admin_page: Page, alice: User, runtime
) -> None:
    admin_page.goto("/admin/sandboxes/maintenance/")
    tomorrow = clock.now() + timedelta(days=1)
    admin_page.locator("#id_until_0").fill(f"{tomorrow:%Y-%m-%d}")
    admin_page.locator("#id_until_1").fill("12:00:00")
    admin_page.get_by_label("Message").fill("New disks.")
    admin_page.get_by_label("Reason").fill("The disks are full.")
    admin_page.get_by_role("button", name="Save", exact=True).click()
    admin_page.get_by_text("was changed successfully").wait_for()
    admin_page.goto("/")

    admin_page.get_by_text("New disks.").wait_for()
    assert isinstance(actions.launch_blocker(alice), Unavailable)


def test_an_operator_extends_a_sandbox_from_its_page(
    admin_page: Page, alice: User, runtime
) -> None:
    sandbox = launch(alice)
    admin_page.goto(f"{SANDBOXES}{sandbox.pk}/change/")
    admin_page.get_by_role("button", name="Extend…").click()
    admin_page.get_by_label("Minutes").fill("30")
    admin_page.get_by_label("Reason").fill("Demo at three.")
    admin_page.get_by_role("button", name="Extend").click()

    admin_page.get_by_text("1 sandbox extended.").wait_for()
    assert reload(sandbox).events.last().message == "Extended by 30 minutes. Demo at three."


def test_an_operator_destroys_several_from_the_list(admin_page: Page, alice: User, runtime) -> None:
    rows = [launch(alice), launch(alice)]
    admin_page.goto(SANDBOXES)
    admin_page.get_by_label("Select all objects on this page for an action").check()
    admin_page.get_by_label("Action:").select_option("destroy")
    admin_page.get_by_role("button", name="Go").click()
    admin_page.get_by_role("button", name="Destroy").click()
    admin_page.get_by_text("This field is required.").wait_for()
    admin_page.get_by_label("Reason").fill("Mining coins.")
    admin_page.get_by_role("button", name="Destroy").click()

    admin_page.get_by_text("2 sandboxes will be destroyed.").wait_for()
    assert {reload(row).state for row in rows} == {State.DESTROYED}


def test_cancelling_destroys_nothing(admin_page: Page, alice: User, runtime) -> None:
    sandbox = launch(alice)
    admin_page.goto(f"{SANDBOXES}{sandbox.pk}/change/")
    admin_page.get_by_role("button", name="Destroy…").click()
    admin_page.get_by_role("link", name="Cancel").click()
    admin_page.get_by_role("button", name="Destroy…").wait_for()

    expect(admin_page).to_have_url(re.compile(f"{SANDBOXES}{sandbox.pk}/change/$"))
    assert reload(sandbox).state == State.RUNNING


def test_limit_override_finds_the_user_by_autocomplete(admin_page: Page, alice: User) -> None:
    admin_page.goto("/admin/sandboxes/limitoverride/add/")
    admin_page.locator(".field-user .select2-selection").click()
    admin_page.locator(".select2-search__field").fill("alice")
    admin_page.locator(".select2-results__option", has_text="alice").click()
    admin_page.get_by_label("Max active").fill("6")
    admin_page.get_by_label("Reason").fill("Workshop")
    admin_page.get_by_role("button", name="Save", exact=True).click()

    admin_page.get_by_text("was added successfully").wait_for()
    assert LimitOverride.objects.get().user == alice


def test_expired_sandbox_is_listed_as_destroyed(admin_page: Page, alice: User, runtime) -> None:
    sandbox = launch(alice)
    expire(sandbox)
    sweep()
    admin_page.goto(f"{SANDBOXES}?state__exact=destroyed")

    admin_page.get_by_role("link", name=sandbox.public_id).wait_for()
    assert Sandbox.objects.get().end_reason == "expired"
