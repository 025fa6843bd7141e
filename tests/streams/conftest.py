"""The process `streams` beside a portal that runs, both in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from streams.app import create_app
from streams.settings import read

from sandboxes.accounts import api_tokens
from sandboxes.models import Scope
from tests.harness.ports import reserve_port
from tests.helpers.wait import wait_for

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django.live_server_helper import LiveServer

    from sandboxes.runtime.memory import MemoryRuntime


@contextmanager
def running(**environment: str) -> Iterator[str]:
    """Run the process in a thread; yield its URL."""
    port = reserve_port()
    url = f"http://127.0.0.1:{port}"
    app = create_app(read({"STREAMS_URL": url, **environment}))
    config = uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, "the process serves requests")
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture
def streams(live_server: LiveServer, runtime: MemoryRuntime, settings: Any) -> Iterator[str]:
    """Return the URL of a process, which the portal tells its clients."""
    with running(STREAMS_PORTAL_URL=live_server.url, SITE_URL=live_server.url) as url:
        settings.STREAMS_URL = url
        yield url


@pytest.fixture
def token_of(
    live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[[User, Scope], str]:
    """Return a function that makes a token, which clients in this process then use."""

    def issue(user: User, scope: Scope) -> str:
        token = api_tokens.issue(user, "listener", scope)[1]
        monkeypatch.setenv("SANDBOX_URL", live_server.url)
        monkeypatch.setenv("SANDBOX_TOKEN", token)
        return token

    return issue
