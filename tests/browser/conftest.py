"""Fixtures for a portal in this process and a Chromium that opens its pages."""

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
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    WebError,
    expect,
)

from sandboxes.lib import queue
from tests.browser.live_server import PausableLiveServer
from tests.browser.page_runner import PageRunner, clear_local_storage, session_cookie
from tests.browser.waiting import PATIENCE
from tests.conftest import PASSWORD
from tests.harness.databases import empty_database

if TYPE_CHECKING:
    from pytest_playwright.pytest_playwright import CreateContextCallback

    from sandboxes.runtime.memory import MemoryRuntime

# Playwright runs an event loop in this thread, which Django mistakes for asynchronous code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"

expect.set_options(timeout=PATIENCE)

CHROMIUM = Path(__file__).with_name("chromium.py")
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    # A page that is opened again doesn't start another process.
    "--process-per-site",
]

# Two elements of Django's form for a new user have `autofocus`.
AUTOFOCUS_BLOCKED = "Autofocus processing was blocked"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Run Debian's headless Chromium by this Python, without background requests to other hosts."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return browser_type_launch_args | {
        "executable_path": CHROMIUM,
        "args": CHROMIUM_ARGS,
        "env": os.environ | {"PATH": path},
    }


@pytest.fixture(scope="module")
def running_server(threads_database: None) -> Iterator[PausableLiveServer]:
    """Serve the portal from a database for several threads; tasks run in the sender's thread."""
    live = PausableLiveServer("127.0.0.1")
    yield live
    live.stop()


@pytest.fixture
def server(
    running_server: PausableLiveServer, runtime: MemoryRuntime
) -> Iterator[PausableLiveServer]:
    """Return the module's server; its database is emptied after the test."""
    yield running_server
    with running_server.paused():
        empty_database()


@pytest.fixture
def alice(server: PausableLiveServer) -> User:
    """Create a user in a committed transaction, so that the server's threads can read the row."""
    return get_user_model().objects.create_user("alice", "alice@example.com", PASSWORD)


@pytest.fixture(scope="module")
def module_context(
    browser: Browser, running_server: PausableLiveServer
) -> Iterator[BrowserContext]:
    """Keep a browser context for a module, so that styles and scripts are loaded once."""
    context = browser.new_context(base_url=str(running_server))
    yield context
    context.close()


@pytest.fixture
def context(server: PausableLiveServer, module_context: BrowserContext) -> Iterator[BrowserContext]:
    """Return the module's context with the server as its base URL, without traces of other tests.

    A fake clock can't be removed from a context; `own_context` is for tests that install one.
    """
    yield module_context
    for page in module_context.pages:
        page.close()
    module_context.clear_permissions()
    module_context.clear_cookies()


@pytest.fixture
def own_context(server: PausableLiveServer, new_context: CreateContextCallback) -> BrowserContext:
    """Return a new browser context with the server as its base URL."""
    return new_context(base_url=str(server))


@pytest.fixture
def page(context: BrowserContext, server: PausableLiveServer) -> Page:
    """Return a new page with an empty local storage."""
    page = context.new_page()
    clear_local_storage(page, str(server))
    return page


@pytest.fixture(scope="module")
def module_page_runner(
    browser: Browser, running_server: PausableLiveServer
) -> Iterator[PageRunner]:
    """Keep browser contexts for a module, so that styles and scripts are loaded once."""
    runner = PageRunner(browser, running_server)
    yield runner
    runner.close()


@pytest.fixture
def page_runner(module_page_runner: PageRunner, server: PausableLiveServer) -> PageRunner:
    """Return an object that opens every page in every state."""
    return module_page_runner


@pytest.fixture
def worker(server: PausableLiveServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run tasks in separate threads, so that pages have to wait for the result."""
    with ThreadPoolExecutor(2) as threads:

        def work(task: Task[Any, Any], args: tuple[Any, ...]) -> None:
            task.apply(args)
            connections.close_all()

        monkeypatch.setattr(queue, "send", lambda task, args: threads.submit(work, task, args))
        yield


class Watch:
    """Records console messages, script errors, and requests to other hosts."""

    def __init__(self, context: BrowserContext, base_url: str) -> None:
        self.context = context
        self.base_url = base_url
        self.messages: list[str] = []
        self.external_requests: list[str] = []
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("request", self._on_request)

    def stop(self) -> None:
        self.context.remove_listener("console", self._on_console)
        self.context.remove_listener("weberror", self._on_error)
        self.context.remove_listener("request", self._on_request)

    def _on_error(self, error: WebError) -> None:
        self.messages.append(str(error.error))

    def _on_console(self, message: ConsoleMessage) -> None:
        if AUTOFOCUS_BLOCKED not in message.text:
            self.messages.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.base_url, "data:", "blob:")):
            self.external_requests.append(request.url)


@pytest.fixture
def watch(context: BrowserContext, server: PausableLiveServer) -> Iterator[Watch]:
    """Fail the test if a page logged a console message or called another host."""
    watching = Watch(context, str(server))
    yield watching
    watching.stop()
    assert watching.messages == []
    assert watching.external_requests == []


def sign_in(page: Page, user: User) -> None:
    """Sign the user in with a session cookie and open the dashboard."""
    page.context.add_cookies([session_cookie(user)])
    page.goto("/")
    page.get_by_label(f"Account menu ({user.email})").wait_for()
