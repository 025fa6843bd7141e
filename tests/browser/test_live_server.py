"""The live server is paused between requests, never during one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx2
import pytest
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path

from tests.browser.live_server import PausableLiveServer

SECONDS = 10

request_arrived = Event()
may_respond = Event()


def slow(_request):
    request_arrived.set()
    may_respond.wait(SECONDS)
    return HttpResponse("answered")


urlpatterns = [path("slow/", slow)]


@pytest.fixture
def server(threads_database):
    request_arrived.clear()
    may_respond.clear()
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
        live = PausableLiveServer("127.0.0.1")
        yield live
        live.stop()


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as some:
        yield some
        may_respond.set()


def pause(server: PausableLiveServer, log: list[str]) -> None:
    with server.paused():
        log.append("paused")


def test_pause_waits_for_active_requests(server, threads):
    log: list[str] = []
    answer = threads.submit(httpx2.get, f"{server}/slow/")
    assert request_arrived.wait(SECONDS)
    pausing = threads.submit(pause, server, log)
    with pytest.raises(TimeoutError):
        pausing.result(timeout=0.1)
    may_respond.set()
    pausing.result(SECONDS)
    assert answer.result(SECONDS).text == "answered"


def test_requests_wait_while_the_server_is_paused(server, threads):
    with server.paused():
        answer = threads.submit(httpx2.get, f"{server}/slow/")
        assert not request_arrived.wait(0.1)
    may_respond.set()
    assert answer.result(SECONDS).text == "answered"
