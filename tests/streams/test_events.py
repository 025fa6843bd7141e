"""Events of a user in one connection, which may be cut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import pytest
from sandbox_client import AsyncClient, Client, errors
from streams import events as stream_events

from sandboxes import actions
from sandboxes.models import Event, Sandbox, Scope
from sandboxes.webhooks import stream
from tests.helpers.inbox import receive
from tests.helpers.scenarios import launch
from tests.helpers.wait import wait_for

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime
    from tests.conftest import Clock

pytestmark = pytest.mark.django_db(transaction=True)
TokenOf = Callable[["User", Scope], str]


@pytest.fixture
def notes(alice: User, runtime: MemoryRuntime) -> Sandbox:
    return launch(alice)


@contextmanager
def cutting_proxy(url: str, limit: int) -> Iterator[tuple[str, list[int]]]:
    """Forward connections, and cut each after `limit` bytes; yield the URL and what was sent."""
    target = urlsplit(url)
    listener = socket.create_server(("127.0.0.1", 0))
    sent: list[int] = []

    def forward() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((str(target.hostname), target.port or 80))
                Thread(target=copy, args=(client, server, None), daemon=True).start()
                Thread(target=copy, args=(server, client, limit), daemon=True).start()

    def copy(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        total = 0
        with suppress(OSError):
            while data := source.recv(512):
                allowed = data if limit is None else data[: limit - total]
                sink.sendall(allowed)
                total += len(allowed)
                if total == limit:
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if limit:
            sent.append(total)

    Thread(target=forward, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent
    listener.close()


def test_a_connection_that_is_cut_again_and_again_loses_and_repeats_nothing(
    alice: User,
    notes: Sandbox,
    streams: str,
    token_of: TokenOf,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token_of(alice, Scope.READ)
    monkeypatch.setattr("sandbox_client.event_stream.MAX_BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr(stream, "SETTLED_AFTER", timedelta(0))
    kinds = [f"order.{number}" for number in range(90)]
    got = []
    with cutting_proxy(streams, limit=6000) as (url, sent), Client() as portal:
        settings.STREAMS_URL = url
        receive(notes, *kinds[:10])
        for event in portal.events(notes.public_id, replay_minutes=5):
            if event.source == "sandbox":
                got.append(event)
            if len(got) == 5:
                receive(notes, *kinds[10:])
            if event.type == kinds[-1]:
                break
    assert len(sent) > 3  # It was cut, in the middle of an event, too.
    assert [event.type for event in got] == kinds
    assert [event.id for event in got] == list(
        notes.inbox.order_by("pk").values_list("message_id", flat=True)
    )


def test_events_arrive_while_clients_listen_and_only_those_of_their_own_sandboxes(
    alice: User, bob: User, notes: Sandbox, streams: str, token_of: TokenOf
) -> None:
    token_of(alice, Scope.READ)

    async def listen() -> list[Any]:
        got: list[Any] = []
        async with AsyncClient() as portal:
            async for event in portal.events(replay_minutes=5):
                got.append(event)
                if len(got) == 1:
                    await asyncio.to_thread(change)
                if len(got) == 3:
                    return got
        raise AssertionError

    def change() -> None:
        launch(bob)
        actions.extend(notes, 30, alice)
        receive(notes, "order.paid")

    with ThreadPoolExecutor(1) as pool:
        running, extended, paid = pool.submit(asyncio.run, listen()).result()
    assert [running.type, extended.type] == ["sandbox.running", "sandbox.extended"]
    assert (extended.source, extended.data["data"]["id"]) == ("portal", notes.public_id)
    assert (paid.source, paid.type, paid.sandbox_id) == ("sandbox", "order.paid", notes.public_id)


def test_events_of_transactions_that_commit_late_are_not_skipped(
    alice: User, notes: Sandbox, clock: Clock
) -> None:
    late = Event.objects.get(kind="running")
    position = stream.Position()
    for _ in range(2):  # It stays in sight, for the case that one before it appears.
        events, position = stream.read([alice.pk], position)
        assert [event.type for event in events] == ["sandbox.running"]
        assert position.journal < late.pk
    clock.forward(seconds=11)
    _, position = stream.read([alice.pk], position)
    assert position.journal >= late.pk
    assert stream.read([alice.pk], position)[0] == []


def test_a_full_page_does_not_skip_events_that_commit_late(
    alice: User, notes: Sandbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_EVENTS", 1)
    running = Event.objects.get(kind="running")
    _, position = stream.read([alice.pk], stream.Position())
    assert position.journal < running.pk
    clock.forward(seconds=11)
    _, position = stream.read([alice.pk], position)
    assert position.journal == running.pk


@pytest.mark.parametrize(
    ("token", "query", "status", "says"),
    [
        ("sbp_wrong", {}, 401, "Create a new one"),
        ("", {"sandbox": "sbx_0000000000000000"}, 404, "not yours"),
        ("", {"replay": "2000"}, 422, "1440"),
        ("", {"replay": "soon"}, 422, "integer"),
    ],
)
def test_refusals_are_problems_of_the_api(
    alice: User,
    streams: str,
    token_of: TokenOf,
    token: str,
    query: dict[str, str],
    status: int,
    says: str,
) -> None:
    token = token or token_of(alice, Scope.READ)
    answer = httpx2.get(
        f"{streams}/streams/events", params=query, headers={"Authorization": f"Bearer {token}"}
    )
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert says in answer.json()["detail"]


def test_a_user_has_a_limit_of_streams_and_a_closed_one_frees_its_place(
    alice: User, streams: str, token_of: TokenOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_events, "MAX_PER_USER", 1)
    headers = {"Authorization": f"Bearer {token_of(alice, Scope.READ)}"}
    url = f"{streams}/streams/events"
    with httpx2.stream("GET", url, headers=headers) as first:
        assert first.status_code == 200
        lines = first.iter_lines()  # The response is closed with its iterator.
        assert next(lines).startswith("id: ")
        refused = httpx2.get(url, headers=headers)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    health = f"{streams}/healthz"
    wait_for(lambda: httpx2.get(health).json()["connections"] == 0, "the first one is closed")
    with httpx2.stream("GET", url, headers=headers) as second:
        assert second.status_code == 200


def test_a_token_that_is_revoked_ends_its_stream(
    alice: User, notes: Sandbox, streams: str, token_of: TokenOf
) -> None:
    token_of(alice, Scope.READ)
    with Client() as portal:
        events = portal.events(replay_minutes=5)
        assert next(events).type == "sandbox.running"
        alice.api_tokens.all().delete()
        with pytest.raises(errors.InvalidToken):
            next(events)
