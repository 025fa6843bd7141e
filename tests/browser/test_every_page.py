"""Every page that the access matrix knows, opened by everybody who may see it: none complains."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, Request, Response
from pytest_django.live_server_helper import LiveServer

from sandboxes import actions
from tests.access.environment import AccessEnvironment, create_environment
from tests.access.matrix import rule_for
from tests.access.routes import all_routes
from tests.browser.conftest import Watch
from tests.helpers.scenarios import launch, sweep

pytestmark = pytest.mark.browser

NO_PAGE = re.compile(r"api/v1/(?!docs)|healthz|metrics|robots|.*/(export|download)/")
"""What programs read, and files to keep."""


class Traffic:
    """What a page asked for besides itself, and did not get."""

    def __init__(self, context: BrowserContext) -> None:
        self.failed: list[str] = []
        context.on("requestfailed", self._on_failure)
        context.on("response", self._on_response)

    def _on_failure(self, request: Request) -> None:
        # A page that is left drops what it was polling for.
        if request.failure != "net::ERR_ABORTED":
            self.failed.append(f"{request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.url}: {response.status}")


@pytest.fixture
def world(server: LiveServer, runtime) -> Iterator[AccessEnvironment]:
    """With a sandbox that runs, one that failed and one that has ended."""
    world = create_environment()
    alice = world.owner
    broken, ended = launch(alice), launch(alice)
    runtime.stop_service(broken.public_id, "api", 3)
    actions.destroy(ended, alice)
    sweep()
    return world


def paths(world: AccessEnvironment, who: str) -> list[str]:
    """What the matrix says is shown to this person; what a key opens, signs others out."""
    shown = [
        route
        for route in all_routes()
        if (rule := rule_for(route.pattern))
        and rule.outcomes.get("GET", {}).get(who) == "200"
        and not (rule.token_in_url and who in world.cookies)
    ]
    return [world.path(route) for route in shown if not NO_PAGE.match(route.pattern)]


@pytest.mark.parametrize("who", ["anonymous", "owner", "operator"])
def test_no_page_complains_or_lacks_anything(
    who: str,
    world: AccessEnvironment,
    page: Page,
    context: BrowserContext,
    server: LiveServer,
    watch: Watch,
) -> None:
    for name, value in world.cookies.get(who, {}).items():
        context.add_cookies([{"name": name, "value": value, "url": str(server)}])
    traffic, opened = Traffic(context), paths(world, who)
    if who == "owner":
        opened += [f"/sandboxes/{row.public_id}/" for row in world.owner.sandboxes.all()]
    for path in opened:
        answer = page.goto(path)
        assert answer
        assert (answer.status, page.url) == (200, f"{server}{path}")
        assert "Content-Security-Policy" in {name.title() for name in answer.headers}, path
        assert (watch.complaints, traffic.failed) == ([], []), path
    assert len(opened) >= 10
