"""The stage is emptied between the requests of a page, never during one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx2
import pytest
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path

from tests.browser.doors import LiveServerWithDoors

SECONDS = 10

arrived = Event()
may_leave = Event()


def dawdle(_request):
    arrived.set()
    may_leave.wait(SECONDS)
    return HttpResponse("answered")


urlpatterns = [path("dawdle/", dawdle)]


@pytest.fixture
def server(threads_database):
    arrived.clear()
    may_leave.clear()
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
        live = LiveServerWithDoors("127.0.0.1")
        yield live
        live.stop()


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as some:
        yield some
        may_leave.set()


def closed(server: LiveServerWithDoors, log: list[str]) -> None:
    with server.doors_closed():
        log.append("closed")


def test_doors_close_when_the_last_request_is_answered(server, threads):
    log: list[str] = []
    answer = threads.submit(httpx2.get, f"{server}/dawdle/")
    assert arrived.wait(SECONDS)
    closing = threads.submit(closed, server, log)
    with pytest.raises(TimeoutError):
        closing.result(timeout=0.1)
    may_leave.set()
    closing.result(SECONDS)
    assert answer.result(SECONDS).text == "answered"


def test_nobody_comes_in_while_they_are_closed(server, threads):
    with server.doors_closed():
        answer = threads.submit(httpx2.get, f"{server}/dawdle/")
        assert not arrived.wait(0.1)
    may_leave.set()
    assert answer.result(SECONDS).text == "answered"
