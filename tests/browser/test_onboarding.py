"""A new user's first minute with a real portal and engine, and the transfer size of each page."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.layout import reload_overview
from tests.browser.waiting import evaluates
from tests.conftest import PASSWORD
from tests.harness.portal import running_portal

if TYPE_CHECKING:
    from tests.harness.portal import Portal

pytestmark = [pytest.mark.browser, pytest.mark.engine]

MAX_CLICKS = 5
MAX_SECONDS = 60
MAX_BYTES = 100_000
PAGES = ["/", "/sandboxes/{id}/", "/history/", "/tokens/", "/accounts/email/"]

COUNT_CLICKS = """
addEventListener("click", event => event.isTrusted && count(event), true);
const count = () => sessionStorage.clicks = Number(sessionStorage.clicks ?? 0) + 1;
"""
SHIFTS = """
window.shifts = [];
new PerformanceObserver(list => list.getEntries().forEach(shift => window.shifts.push({
    value: shift.value,
    clicked: shift.hadRecentInput,
    at: shift.startTime,
    what: shift.sources.map(source => source.node?.nodeName + "." + source.node?.className),
}))).observe({type: "layout-shift", buffered: true});
"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """Start a portal with an empty pool, so that launches are cold."""
    with running_portal(tmp_path_factory.mktemp("var")) as portal:
        yield portal


@pytest.fixture
def new_visitor(browser: Browser, empty: Portal) -> Iterator[BrowserContext]:
    """Return a new browser context; fail on console messages and requests to other hosts."""
    address = f"http://127.0.0.1:{empty.port}"
    context = browser.new_context(
        base_url=address, permissions=["clipboard-read", "clipboard-write"]
    )
    messages: list[str] = []
    context.on("console", lambda message: messages.append(message.text))
    context.on("weberror", lambda error: messages.append(str(error.error)))
    requests: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    yield context
    context.close()
    assert messages == []
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []


def sign_up(page: Page, name: str) -> None:
    page.goto("/accounts/signup/")
    page.get_by_label("Email").fill(f"{name}@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()


def test_first_api_response_takes_at_most_five_clicks_and_a_minute(
    new_visitor: BrowserContext,
) -> None:
    page = new_visitor.new_page()
    page.add_init_script(COUNT_CLICKS)
    began = time.monotonic()
    sign_up(page, "clara")
    page.get_by_role("button", name="Launch sandbox").click()
    page.get_by_role("button", name="Copy command").click(timeout=MAX_SECONDS * 1000)
    evaluates(page, "navigator.clipboard.readText().then(text => text.startsWith('curl'))")
    command = page.evaluate("navigator.clipboard.readText()")
    answer = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=20, check=True
    )
    elapsed = time.monotonic() - began
    assert len(json.loads(answer.stdout)["data"]) == 5
    assert int(page.evaluate("sessionStorage.clicks")) <= MAX_CLICKS
    assert elapsed < MAX_SECONDS


def test_launch_causes_no_layout_shifts(new_visitor: BrowserContext) -> None:
    page = new_visitor.new_page()
    page.add_init_script(SHIFTS)
    sign_up(page, "dora")
    page.get_by_role("button", name="Launch sandbox").click()
    card = page.get_by_role("article")
    card.wait_for()
    appeared_at = page.evaluate("performance.now()")
    expect(card.get_by_text("Running", exact=True)).to_be_visible(timeout=MAX_SECONDS * 1000)
    reload_overview(page)
    shifts = page.evaluate("window.shifts")
    assert [shift for shift in shifts if not shift["clicked"]] == [], (
        "shifts as browsers count them"
    )
    later = [shift for shift in shifts if shift["at"] > appeared_at]
    assert later == [], "after the card appears, not even shifts that follow a click"


def test_every_page_transfers_less_than_100_kilobytes(browser: Browser, empty: Portal) -> None:
    with empty.client("developer") as client:
        sandbox = client.post("/sandboxes", json={}, headers={"Prefer": "wait=60"}).json()
    account = empty.accounts["developer"]
    sizes_by_path = {"/accounts/login/": transfer_size(browser, empty, "/accounts/login/")}
    for path in PAGES:
        sizes_by_path[path] = transfer_size(browser, empty, path.format(id=sandbox["id"]), account)
    assert {path: size for path, size in sizes_by_path.items() if size >= MAX_BYTES} == {}
    assert min(sizes_by_path.values()) > 10_000, "sizes were measured"


def transfer_size(
    browser: Browser, portal: Portal, path: str, account: dict[str, str] | None = None
) -> int:
    """Return the transferred bytes, headers included, with an empty browser cache."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{portal.port}")
    page = context.new_page()
    if account:
        page.goto("/accounts/login/")
        page.get_by_label("Email").fill(account["email"])
        page.get_by_label("Password").fill(account["password"])
        page.get_by_role("button", name="Sign in").click()
        page.locator(".menu").wait_for()
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[int] = []
    wire.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(path, wait_until="networkidle")
    context.close()
    return sum(sizes)
