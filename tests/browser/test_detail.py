"""The page of one sandbox while a user has it open."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from sandboxes.core import journal, lifecycle
from sandboxes.lib import clock
from sandboxes.models import Sandbox, UsageSample
from tests.browser.conftest import Watch, sign_in
from tests.browser.layout import SHIFTS, WIDTHS_AND_FONTS, use_fonts
from tests.browser.scenarios import aged, provisioning
from tests.browser.test_polling import poll
from tests.browser.waiting import evaluates
from tests.harness import bulk_data
from tests.helpers.scenarios import launch
from tests.helpers.wait import wait_for

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

pytestmark = pytest.mark.browser

LINES = 300


def visit(page: Page, sandbox: Sandbox, user: User) -> None:
    sign_in(page, user)
    page.goto(f"/sandboxes/{sandbox.public_id}/")


def launch_with_logs(user: User, runtime: MemoryRuntime) -> Sandbox:
    sandbox = launch(user, name="checkout")
    for number in range(LINES):
        runtime.write_log(sandbox.public_id, "api", f"GET /v1/plans?page={number} 200")
    return sandbox


AT_END = """() => {
    const log = document.querySelector("#log-text");
    return log.scrollTop + log.clientHeight > log.scrollHeight - 5;
}"""


def test_log_opens_at_its_end_and_live_tail_follows_new_lines(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sandbox = launch_with_logs(alice, runtime)
    visit(page, sandbox, alice)
    log = page.locator("#log-text")
    expect(log).to_contain_text(f"page={LINES - 1} 200")
    evaluates(page, AT_END)
    page.get_by_label("Live tail").check()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    runtime.write_log(sandbox.public_id, "api", "POST /v1/invoices 201")
    expect(log).to_contain_text("POST /v1/invoices 201")
    evaluates(page, AT_END)

    log.evaluate("log => log.scrollTop = 100")
    runtime.write_log(sandbox.public_id, "api", "POST /v1/payments 201")
    expect(log).to_contain_text("POST /v1/payments 201")
    assert log.evaluate("log => log.scrollTop") == 100, "a scrolled log keeps its position"

    page.get_by_label("Live tail").uncheck()
    expect(page.get_by_text("live", exact=True)).to_have_count(0)


def test_log_filter_applies_while_typing_and_keeps_its_value(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sandbox = launch_with_logs(alice, runtime)
    visit(page, sandbox, alice)
    words = page.get_by_label("Filter lines")
    words.press_sequentially("page=299")
    expect(page.get_by_text("1 match in the last 200 lines")).to_be_visible()
    expect(words).to_be_focused()
    page.get_by_role("link", name="db", exact=True).click()
    expect(page.get_by_text("No matches for “page=299” in the last 1 lines.")).to_be_visible()
    expect(words).to_have_value("page=299")
    words.focus()
    expect(page.locator(".htmx-request, .htmx-swapping, .htmx-settling")).to_have_count(0)
    with page.expect_response(lambda answer: "/logs/" in answer.url):
        page.evaluate("document.body.dispatchEvent(new Event('sandboxes-changed'))")
    expect(words, "a swap of the whole panel keeps the focus").to_be_focused()


def test_expanded_sections_stay_open_after_an_update(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    sandbox = aged(launch(alice), 20)
    values = {"memory_mb": 90, "cpu_seconds": 1, "received_bytes": 1, "sent_bytes": 1}
    UsageSample.objects.create(sandbox=sandbox, **values)
    for _ in range(14):
        journal.record(sandbox, "touched", "Idle timer reset.", actor=alice)
    visit(page, sandbox, alice)
    page.get_by_text("Show as table").click()
    page.get_by_text("earlier events").click()
    UsageSample.objects.create(sandbox=sandbox, **values | {"memory_mb": 173})
    with page.expect_response(lambda answer: "/usage/" in answer.url):
        page.get_by_role("button", name="Keep alive").click()
    expect(page.get_by_role("cell", name="173.00")).to_be_visible()
    expect(page.locator("#journal-earlier")).to_have_attribute("open", "")


def test_estimate_counts_down_between_polls(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch
) -> None:
    bulk_data.create_ended(3, {alice: 3})
    slow = [{"name": "ready", "state": "done", "started_at": str(clock.now()), "seconds": 60.0}]
    Sandbox.objects.update(steps=slow, blueprint="billing")
    visit(page, provisioning(alice, runtime), alice)
    words, bar = page.locator("[data-eta]"), page.locator("progress.lifetime-provisioning")
    expect(words).to_have_text(re.compile(r"About 5\d s left"))
    # Read the bar first; a tick between the two reads then changes both later values.
    filled, before = bar.evaluate("bar => bar.value"), words.inner_text()
    expect(words).not_to_have_text(before)
    wait_for(
        lambda: bar.evaluate("bar => bar.value") > filled or page.wait_for_timeout(100),
        "the bar fills",
    )


@WIDTHS_AND_FONTS
def test_page_has_no_layout_shifts_while_its_sandbox_is_provisioned(
    page: Page, alice: User, runtime: MemoryRuntime, watch: Watch, width: int, fonts: str
) -> None:
    use_fonts(page, fonts)
    page.set_viewport_size({"width": width, "height": 820})
    page.add_init_script(SHIFTS)
    sandbox = provisioning(alice, runtime)
    visit(page, sandbox, alice)
    expect(page.get_by_text("No output from api yet.")).to_be_visible()
    poll(page, sandbox)
    lifecycle.mark_ready(sandbox, {"api:8080": "127.0.0.1:49153", "db:5432": "127.0.0.1:49152"}, 0)
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Show credentials")).to_be_visible()
    poll(page, sandbox)
    assert page.evaluate("shifts") == []
