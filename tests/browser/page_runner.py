"""Opens a page state: an empty database, the scenario's data, and a signed-in browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.template.loader import render_to_string
from django.test import Client, override_settings

from sandboxes.models.runtime_settings import config as runtime_config
from sandboxes.runtime import forget_runtimes, get_runtime
from tests.conftest import PASSWORD
from tests.harness.databases import empty_database

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from playwright.sync_api import (
        Browser,
        BrowserContext,
        Page,
        Route,
        SetCookieParam,
        ViewportSize,
    )

    from tests.browser.live_server import PausableLiveServer
    from tests.browser.page_states import PageState

VIEWPORT: ViewportSize = {"width": 1280, "height": 820}


def _answer(body: str, route: Route) -> None:
    route.fulfill(body=body, content_type="text/html")


def session_cookie(user: User) -> SetCookieParam:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return {"name": name, "value": client.cookies[name].value, "domain": "127.0.0.1", "path": "/"}


def clear_local_storage(page: Page, origin: str) -> None:
    """Forget the ids of shown warnings, which restart from 1 in an emptied database."""
    storage = {"origin": origin, "storageTypes": "local_storage"}
    page.context.new_cdp_session(page).send("Storage.clearDataForOrigin", storage)


class PageRunner:
    """Opens page states in a browser; only the HTTP cache is kept between them."""

    def __init__(self, browser: Browser, server: PausableLiveServer) -> None:
        self.browser = browser
        self.server = server
        self.contexts: dict[str, BrowserContext] = {}

    @contextmanager
    def open(self, state: PageState, **browsing: Any) -> Iterator[Page]:
        users = self._create_users()
        sandbox = state.scenario(users["alice"], get_runtime())  # type: ignore[arg-type]
        user = users.get(state.user)
        with override_settings(**state.settings), self._browse(user, **browsing) as page:
            path = state.path if isinstance(state.path, str) else state.path(users["alice"])
            if state.template:
                # Without `times=1`: the end of a route drops requests for the page's static files.
                page.route(path, partial(_answer, render_to_string(state.template)))
            page.goto(path.format(id=sandbox and sandbox.public_id))
            state.interact(page)
            yield page

    def _create_users(self) -> dict[str, User]:
        """Empty the database and create the users alice and olga."""
        with self.server.paused():
            empty_database()
            # The cache has the rate limit of sign-ins.
            cache.clear()
            runtime_config.reset_cache()
            forget_runtimes()
        people = get_user_model().objects
        alice = people.create_user("alice", "alice@example.com", PASSWORD)
        olga = people.create_superuser("olga", "olga@example.com", PASSWORD)
        return {"alice": alice, "olga": olga}

    @contextmanager
    def _browse(self, user: User | None, **browsing: Any) -> Iterator[Page]:
        context = self._context(**browsing)
        context.clear_cookies()
        if user:
            context.add_cookies([session_cookie(user)])
        # A new page starts a renderer, which takes longer than everything else.
        page = context.pages[0] if context.pages else context.new_page()
        clear_local_storage(page, str(self.server))
        try:
            yield page
        finally:
            self._reset(page)

    @staticmethod
    def _reset(page: Page) -> None:
        """Leave the page as it was opened."""
        page.unroute_all()
        page.goto("about:blank")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(VIEWPORT)

    def _context(self, **browsing: Any) -> BrowserContext:
        """Return the browser context for the options; each loads styles and scripts once."""
        key = repr(browsing)
        if key not in self.contexts:
            self.contexts[key] = self.browser.new_context(
                base_url=str(self.server), reduced_motion="reduce", viewport=VIEWPORT, **browsing
            )
        return self.contexts[key]

    def close(self) -> None:
        for context in self.contexts.values():
            context.close()
