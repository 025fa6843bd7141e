"""Every page of the access matrix loads without errors for each role with access."""

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

NOT_A_PAGE = re.compile(r"api/v1/(?!docs)|healthz|metrics|robots|.*/(export|download)/")
"""Routes for programs and downloads."""


class Traffic:
    """Records failed requests of a page for its resources."""

    def __init__(self, context: BrowserContext) -> None:
        self.failed: list[str] = []
        context.on("requestfailed", self._on_failure)
        context.on("response", self._on_response)

    def _on_failure(self, request: Request) -> None:
        # Leaving a page aborts its polling request.
        if request.failure != "net::ERR_ABORTED":
            self.failed.append(f"{request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.url}: {response.status}")


@pytest.fixture
def env(server: LiveServer, runtime) -> Iterator[AccessEnvironment]:
    """Create the environment with a running, a failed, and an ended sandbox."""
    env = create_environment()
    alice = env.owner
    broken, ended = launch(alice), launch(alice)
    runtime.stop_service(broken.public_id, "api", 3)
    actions.destroy(ended, alice)
    sweep()
    return env


def paths(env: AccessEnvironment, role: str) -> list[str]:
    """Return the pages the role may open.

    Links with a token in the URL are left out for signed-in roles, because they sign the user out.
    """
    shown = [
        route
        for route in all_routes()
        if (rule := rule_for(route.pattern))
        and rule.outcomes.get("GET", {}).get(role) == "200"
        and not (rule.token_in_url and role in env.cookies)
    ]
    return [env.path(route) for route in shown if not NOT_A_PAGE.match(route.pattern)]


@pytest.mark.parametrize("role", ["anonymous", "owner", "operator"])
def test_pages_load_without_messages_or_failed_requests(
    role: str,
    env: AccessEnvironment,
    page: Page,
    context: BrowserContext,
    server: LiveServer,
    watch: Watch,
) -> None:
    for name, value in env.cookies.get(role, {}).items():
        context.add_cookies([{"name": name, "value": value, "url": str(server)}])
    traffic, opened = Traffic(context), paths(env, role)
    if role == "owner":
        opened += [f"/sandboxes/{row.public_id}/" for row in env.owner.sandboxes.all()]
    for path in opened:
        answer = page.goto(path)
        assert answer
        assert (answer.status, page.url) == (200, f"{server}{path}")
        assert "Content-Security-Policy" in {name.title() for name in answer.headers}, path
        assert (watch.messages, traffic.failed) == ([], []), path
    assert len(opened) >= 10
