"""Every page of the access matrix loads without errors."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.urls import reverse
from playwright.sync_api import BrowserContext, Page, Request, Response
from pytest_django.live_server_helper import LiveServer

from sandboxes import actions
from tests.access.environment import AccessEnvironment, create_environment
from tests.access.matrix import rule_for
from tests.access.routes import all_routes
from tests.browser.conftest import Watch
from tests.helpers.scenarios import launch, sweep

pytestmark = pytest.mark.browser

NOT_A_PAGE = re.compile(r"api/v1/(?!docs)|cli/.|healthz|metrics|robots|.*/(export|download)/")
"""Routes for programs and downloads."""


class Traffic:
    """Records failed requests of a page for its resources."""

    def __init__(self, page: Page) -> None:
        self.failed: list[str] = []
        page.on("requestfailed", self._on_failure)
        page.on("response", self._on_response)

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


ROLES = ("anonymous", "owner", "operator")


def first_role(pattern: str) -> str | None:
    """Return the first role that may open the page; others see the same page."""
    rule = rule_for(pattern)
    outcomes = rule.outcomes.get("GET", {}) if rule else {}
    return next((role for role in ROLES if outcomes.get(role) == "200"), None)


def paths(env: AccessEnvironment, role: str) -> list[str]:
    """Return the pages that this role is the first to have access to."""
    patterns = [route for route in all_routes() if not NOT_A_PAGE.match(route.pattern)]
    return [env.path(route) for route in patterns if first_role(route.pattern) == role]


@pytest.mark.parametrize("role", ROLES)
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
    traffic, opened = Traffic(page), paths(env, role)
    if role == "owner":
        opened += [f"/sandboxes/{row.public_id}/" for row in env.owner.sandboxes.all()]
    if role == "operator":
        opened += [
            reverse("admin:sandboxes_sandbox_change", args=[row.pk])
            for row in env.owner.sandboxes.all()
        ]
    for path in opened:
        answer = page.goto(path)
        assert answer
        assert (answer.status, page.url) == (200, f"{server}{path}")
        assert "Content-Security-Policy" in {name.title() for name in answer.headers}, path
        assert (watch.messages, traffic.failed) == ([], []), path
    assert len(opened) >= 10, "most pages are not left out by mistake"
