"""Automatic updates of an open page, and what they must not change."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from sandboxes import actions
from sandboxes.lib import queue
from sandboxes.models import ApiToken, Funding, Sandbox
from sandboxes.worker import resets
from tests.browser.conftest import Watch, sign_in
from tests.browser.layout import SHIFTS, WIDTHS_AND_FONTS, reload_overview, use_fonts
from tests.browser.scenarios import aged, at_the_limit, warned
from tests.browser.waiting import evaluates
from tests.conftest import PASSWORD
from tests.helpers.scenarios import launch, reload, sweep

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.live_server_helper import LiveServer
    from pytest_playwright.pytest_playwright import CreateContextCallback

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.browser

POLL_MILLISECONDS = 10_000
"""Interval at which the dashboard polls for updates."""


POLL_NOW = """id => {
    const live = document.querySelector(`#status-${id}[hx-get]`);
    const how = {source: live, target: `#card-${id}`, swap: "outerHTML"};
    if (live) return htmx.ajax("GET", live.getAttribute("hx-get"), how);
    htmx.trigger(document.body, "sandboxes-changed");
}"""


def poll(page: Page, sandbox: Sandbox) -> None:
    """Poll for the card now: by the dashboard's poll, or by its own on its own page."""
    page.evaluate(POLL_NOW, sandbox.public_id)


def test_a_poll_leaves_typing_and_open_panels_alone(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sandbox = launch(alice, name="checkout")
    sign_in(page, alice)
    page.get_by_label("Name").fill("half a na")
    page.locator("summary", has_text="Extend").click()
    Sandbox.objects.filter(pk=sandbox.pk).update(funding=Funding.FUNDED)
    page.locator("summary", has_text="Extend").focus()
    poll(page, sandbox)
    expect(page.get_by_text("Funded", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="1 h")).to_be_visible()
    expect(page.locator("summary", has_text="Extend")).to_be_focused()
    expect(page.get_by_label("Name")).to_have_value("half a na")


def test_a_poll_that_replaces_a_card_leaves_its_menu_open(
    page: Page, alice: User, watch: Watch
) -> None:
    sandbox = launch(alice, name="checkout")
    sign_in(page, alice)
    expect(page.get_by_text("Make your first call")).to_be_visible()
    page.locator("summary", has_text="Extend").click()
    actions.read_credentials(sandbox, alice)
    poll(page, sandbox)
    expect(page.get_by_text("Make your first call")).to_have_count(0)
    expect(page.get_by_role("button", name="1 h")).to_be_visible()


def test_poll_without_changes_returns_204(page: Page, alice: User, watch: Watch) -> None:
    sandbox = launch(alice, name="checkout")
    sign_in(page, alice)
    with page.expect_response(lambda answer: "/overview/" in answer.url) as answered:
        poll(page, sandbox)
    assert answered.value.status == 204


def test_open_page_shows_a_sandbox_launched_by_a_program(
    own_context: BrowserContext, alice: User
) -> None:
    page = own_context.new_page()
    page.clock.install()
    sign_in(page, alice)
    page.get_by_label("Name").fill("half a na")
    launch(alice, name="from-a-script")
    page.clock.fast_forward(POLL_MILLISECONDS)
    expect(page.get_by_role("article", name="from-a-script")).to_be_visible()


def test_open_page_shows_how_a_sandbox_ended(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sandbox = launch(alice, name="checkout")
    sign_in(page, alice)
    page.get_by_role("button", name="Show credentials").click()
    expect(page.get_by_text("Authorization: Bearer sk_test_")).to_be_visible()
    runtime.stop_service(sandbox.public_id, "api", 137, oom=True)
    sweep()
    poll(page, sandbox)
    card = page.locator(f"#card-{sandbox.public_id}")
    expect(card.get_by_text("Out of memory", exact=True)).to_be_visible()
    expect(page.get_by_text("Bearer sk_test_")).to_have_count(0)


def test_the_result_of_a_reset_is_shown_although_no_poll_brings_it(
    page: Page, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox, other = launch(alice, name="checkout"), launch(alice, name="other")
    monkeypatch.setattr(queue, "send", Mock())
    for row in (sandbox, other):
        actions.reset(row, alice)
    sign_in(page, alice)
    expect(page.get_by_role("button", name="Resetting")).to_have_count(2)
    page.route("**/overview/?*", lambda route: route.abort())
    resets.reset(reload(sandbox))
    card = page.get_by_role("article", name="checkout")
    card.get_by_role("button", name="Keep alive").click()
    expect(card.get_by_text("Reset finished in")).to_be_visible()

    page.unroute("**/overview/?*")
    resets.reset(reload(other))
    launch(alice, name="from-a-script")
    reload_overview(page)
    card = page.get_by_role("article", name="other")
    expect(card.get_by_text("Reset finished in")).to_be_visible()


def test_a_warning_at_the_top_keeps_a_sandbox_alive_with_one_click(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    idle = warned(alice, runtime)
    sign_in(page, alice)
    banner = page.get_by_role("alert").filter(has_text="webhook-spike")
    banner.get_by_role("button", name="Keep alive").click()
    expect(banner).to_have_count(0)
    assert reload(idle).last_activity_at != idle.last_activity_at
    other = page.get_by_role("alert").filter(has_text="checkout-tests")
    other.get_by_role("button", name="Extend to").click()
    expect(other).to_have_count(0)


def test_the_countdown_ticks(page: Page, alice: User, watch: Watch) -> None:
    aged(launch(alice), 58)
    sign_in(page, alice)
    clock = page.locator(".time-left-value")
    before = clock.inner_text()
    expect(clock).not_to_have_text(before)


def test_times_are_in_the_time_zone_of_the_browser(
    new_context: CreateContextCallback, server: LiveServer, alice: User
) -> None:
    sandbox = launch(alice)
    elsewhere = new_context(base_url=str(server), timezone_id="Asia/Kolkata").new_page()
    sign_in(elsewhere, alice)
    assert sandbox.expires_at
    shown = elsewhere.locator(".status-text time").last
    utc = sandbox.expires_at.hour * 60 + sandbox.expires_at.minute
    hours, minutes = divmod((utc + 330) % (24 * 60), 60)
    expect(shown).to_have_text(f"{hours:02}:{minutes:02}")


def test_copy_button_copies_the_whole_key(
    page: Page, context: BrowserContext, alice: User, watch: Watch
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    sandbox = launch(alice)
    sign_in(page, alice)
    page.get_by_role("button", name="Copy Stellar public key").click()
    evaluates(page, "navigator.clipboard.readText()", sandbox.stellar_public_key)


def test_action_after_signing_out_elsewhere_asks_to_sign_in(
    page: Page, context: BrowserContext, alice: User
) -> None:
    sandbox = launch(alice)
    sign_in(page, alice)
    context.clear_cookies()
    page.get_by_role("button", name="Keep alive").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert reload(sandbox).events.filter(kind="touched").count() == 0


def test_error_is_shown_on_the_card(page: Page, alice: User, watch: Watch) -> None:
    sandbox = launch(alice)
    sign_in(page, alice)
    page.locator("summary", has_text="Extend").click()
    actions.extend(sandbox, 30, alice)
    page.get_by_role("button", name="1 h").click()
    expect(page.get_by_role("alert")).to_contain_text("Already extended")


def test_error_is_shown_on_the_card_although_a_poll_came_first(
    page: Page, alice: User, watch: Watch
) -> None:
    sandbox = launch(alice)
    sign_in(page, alice)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/extend/", hold)
    page.locator("summary", has_text="Extend").click()
    with page.expect_request("**/extend/"):
        page.get_by_role("button", name="1 h").click()
    actions.extend(sandbox, 30, alice)
    reload_overview(page)
    held[0].continue_()
    expect(page.get_by_role("alert")).to_contain_text("Already extended")


def test_no_page_is_wider_than_a_phone(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    page.set_viewport_size({"width": 360, "height": 780})
    sandbox = at_the_limit(alice, runtime)
    sign_in(page, alice)
    for address in ("/", f"/sandboxes/{sandbox.public_id}/", "/tokens/", "/history/"):
        page.goto(address)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width == 360, address


def test_a_token_is_shown_once_and_revoked_with_a_dialog(
    page: Page, alice: User, watch: Watch
) -> None:
    sign_in(page, alice)
    page.goto("/tokens/")
    page.get_by_label("Name").fill("ci-pipeline")
    page.get_by_text("View sandboxes").click()
    page.get_by_role("button", name="Create token").click()
    text = page.locator("#new-token").inner_text()
    assert text.startswith("sbp_")
    assert ApiToken.objects.get().scope == "read"
    page.goto("/tokens/")
    expect(page.get_by_text(text)).to_have_count(0)
    page.get_by_role("link", name="Revoke ci-pipeline").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Token ci-pipeline revoked.")).to_be_visible()
    assert PASSWORD not in page.content()


@WIDTHS_AND_FONTS
def test_dashboard_has_no_layout_shifts_while_a_sandbox_is_provisioned(
    page: Page,
    alice: User,
    worker: None,
    runtime: MemoryRuntime,
    watch: Watch,
    width: int,
    fonts: str,
) -> None:
    page.set_viewport_size({"width": width, "height": 820})
    use_fonts(page, fonts)
    runtime.slow_seconds = 0.5
    page.add_init_script(SHIFTS)
    sign_in(page, alice)
    page.get_by_role("button", name="Launch sandbox").click()
    card = page.get_by_role("article")
    card.wait_for()
    appeared_at = page.evaluate("performance.now()")
    expect(card.get_by_text("Running", exact=True)).to_be_visible()
    reload_overview(page)
    assert page.evaluate("shifts") == []
    later = [one for one in page.evaluate("shiftsAfterInput") if one["at"] > appeared_at]
    assert later == [], "after the card appears, not even shifts that follow a click"
