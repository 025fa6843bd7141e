"""A portal in this process, and a Chromium to look at it with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Task
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from sandboxes import queue as worker_tasks
from tests.browser.doors import LiveServerWithDoors
from tests.browser.guide import Guide, session_cookie
from tests.browser.waiting import PATIENCE
from tests.conftest import PASSWORD
from tests.harness.databases import empty_database

if TYPE_CHECKING:
    from pytest_playwright.pytest_playwright import CreateContextCallback

    from sandboxes.runtime.memory import MemoryRuntime

# Playwright runs an event loop in this thread, and Django takes that for asynchronous code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"

expect.set_options(timeout=PATIENCE)

CHROMIUM = Path(__file__).with_name("chromium.py")
QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
]

# Django's form for a new user asks for the focus in two ways.
FOCUSED_ALREADY = "Autofocus processing was blocked"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium, which calls nobody by itself; started by this Python."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return browser_type_launch_args | {
        "executable_path": CHROMIUM,
        "args": QUIET,
        "env": os.environ | {"PATH": path},
    }


@pytest.fixture(scope="module")
def running_server(threads_database: None) -> Iterator[LiveServerWithDoors]:
    """The pages, on a database that several threads can use; tasks run where they are sent."""
    live = LiveServerWithDoors("127.0.0.1")
    yield live
    live.stop()


@pytest.fixture
def server(
    running_server: LiveServerWithDoors, runtime: MemoryRuntime
) -> Iterator[LiveServerWithDoors]:
    """The module's server, with nothing in its database."""
    yield running_server
    with running_server.doors_closed():
        empty_database()


@pytest.fixture
def alice(server: LiveServerWithDoors) -> User:
    """She is committed, so that the server sees her; `django_user_model` would roll her back."""
    return get_user_model().objects.create_user("alice", "alice@example.com", PASSWORD)


@pytest.fixture
def context(server: LiveServerWithDoors, new_context: CreateContextCallback) -> BrowserContext:
    """A browser whose addresses start at the server."""
    return new_context(base_url=str(server))


@pytest.fixture(scope="module")
def module_guide(browser: Browser, running_server: LiveServerWithDoors) -> Iterator[Guide]:
    """Its browser contexts stay, so that styles and scripts are fetched once."""
    leading = Guide(browser, running_server)
    yield leading
    leading.close()


@pytest.fixture
def guide(module_guide: Guide, server: LiveServerWithDoors) -> Guide:
    """Knows the way to every page and state."""
    return module_guide


@pytest.fixture
def worker(server: LiveServerWithDoors, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tasks run in threads of their own, so that the pages have something to wait for."""
    with ThreadPoolExecutor(2) as threads:

        def work(task: Task[Any, Any], args: tuple[Any, ...]) -> None:
            task.apply(args)
            connections.close_all()

        monkeypatch.setattr(
            worker_tasks, "send", lambda task, args: threads.submit(work, task, args)
        )
        yield


class Watch:
    """What a page must not do: complain, or call other hosts."""

    def __init__(self, context: BrowserContext, base_url: str) -> None:
        self.base_url = base_url
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if FOCUSED_ALREADY not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.base_url, "data:", "blob:")):
            self.strangers.append(request.url)


@pytest.fixture
def watch(context: BrowserContext, server: LiveServerWithDoors) -> Iterator[Watch]:
    """Fails the test when a page complained or called another host."""
    watching = Watch(context, str(server))
    yield watching
    assert watching.complaints == []
    assert watching.strangers == []


def sign_in(page: Page, user: User) -> None:
    """Give the browser a session of the user's, and open the dashboard."""
    page.context.add_cookies([session_cookie(user)])
    page.goto("/")
    page.get_by_label(f"Account menu ({user.email})").wait_for()
