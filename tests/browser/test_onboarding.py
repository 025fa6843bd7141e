"""A new user's first minute with a real portal and engine, and the transfer size of each page."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, Page

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


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """Start a portal with an empty pool, so that launches are cold."""
    with running_portal(tmp_path_factory.mktemp("var")) as portal:
        yield portal


@dataclass
class FirstMinute:
    """What a new user did from signing up to the first response of a sandbox's API."""

    page: Page
    clicks: int
    seconds: float
    response: dict[str, Any]
    messages: list[str]
    external_requests: list[str]


@pytest.fixture(scope="module")
def first_minute(browser: Browser, empty: Portal) -> Iterator[FirstMinute]:
    """Sign up, launch a sandbox, and run the command that its card shows."""
    address = f"http://127.0.0.1:{empty.port}"
    context = browser.new_context(
        base_url=address, permissions=["clipboard-read", "clipboard-write"]
    )
    messages: list[str] = []
    context.on("console", lambda message: messages.append(message.text))
    context.on("weberror", lambda error: messages.append(str(error.error)))
    requests: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    page = context.new_page()
    page.add_init_script(COUNT_CLICKS)
    began = time.monotonic()
    page.goto("/accounts/signup/")
    page.get_by_label("Email").fill("clara@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("button", name="Launch sandbox").click()
    page.get_by_role("button", name="Copy command").click(timeout=MAX_SECONDS * 1000)
    evaluates(page, "navigator.clipboard.readText().then(text => text.startsWith('curl'))")
    command = page.evaluate("navigator.clipboard.readText()")
    answer = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=20, check=True
    )
    yield FirstMinute(
        page,
        int(page.evaluate("sessionStorage.clicks")),
        time.monotonic() - began,
        json.loads(answer.stdout),
        messages,
        [url for url in requests if not url.startswith((address, "data:", "blob:"))],
    )
    context.close()


def test_first_api_response_takes_at_most_five_clicks_and_a_minute(
    first_minute: FirstMinute,
) -> None:
    assert len(first_minute.response["data"]) == 5
    assert first_minute.clicks <= MAX_CLICKS
    assert first_minute.seconds < MAX_SECONDS


def test_the_first_minute_is_free_of_console_messages_and_requests_to_other_hosts(
    first_minute: FirstMinute,
) -> None:
    assert first_minute.messages == []
    assert first_minute.external_requests == []


def test_every_page_transfers_less_than_100_kilobytes(first_minute: FirstMinute) -> None:
    page = first_minute.page
    card = page.get_by_role("article").get_attribute("id") or ""
    paths = [path.format(id=card.removeprefix("card-")) for path in PAGES]
    sizes_by_path = {path: transfer_size(page, path) for path in paths}
    page.context.clear_cookies()
    sizes_by_path["/accounts/login/"] = transfer_size(page, "/accounts/login/")
    assert {path: size for path, size in sizes_by_path.items() if size >= MAX_BYTES} == {}
    assert min(sizes_by_path.values()) > 10_000, "sizes were measured"


def transfer_size(page: Page, path: str) -> int:
    """Return the transferred bytes, headers included, with an empty browser cache."""
    # An open page polls, so the requests of the page before would be counted, too.
    page.goto("about:blank")
    wire = page.context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[int] = []
    wire.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    answer = page.goto(path, wait_until="networkidle")
    assert answer and answer.status == 200
    assert page.url.endswith(path)
    wire.detach()
    return sum(sizes)
