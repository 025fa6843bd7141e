"""Funding attempts: schedule, limit and recovery."""

from __future__ import annotations

from time import monotonic

import pytest
from django.utils import timezone

from sandboxes import actions
from sandboxes.models import Funding, State
from sandboxes.stellar import friendbot
from sandboxes.worker import funding as worker_funding
from tests.fakes.friendbot import funding_delay, raw_server
from tests.helpers.scenarios import (
    event_kinds,
    launch,
    reload,
    request,
    run_on_commit,
    sweep,
)

pytestmark = pytest.mark.django_db


def test_retries_back_off_and_stop_after_the_last_attempt(alice, runtime, bot, clock):
    bot.status = 500
    sandbox = launch(alice)
    waits = []
    while reload(sandbox).funding == Funding.PENDING:
        worker_funding.fund(reload(sandbox))
        if reload(sandbox).funding == Funding.PENDING:
            waits.append(funding_delay(sandbox).total_seconds())
            clock.forward(seconds=waits[-1])

    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 900]
    assert len(bot.asked_for) == 10
    assert reload(sandbox).funding_error.endswith("gave up after 10 attempts")
    journal = [kind for kind in event_kinds(sandbox) if kind.startswith("funding")]
    assert journal == ["funding_pending", "funding_failed"], "repeated errors are recorded once"


def test_friendbot_is_not_called_before_the_attempt_is_due(alice, runtime, bot, clock):
    bot.status = 500
    sandbox = launch(alice)
    worker_funding.fund(reload(sandbox))
    worker_funding.fund(reload(sandbox))
    sweep()

    assert len(bot.asked_for) == 1


def test_the_reaper_requeues_a_due_attempt(alice, runtime, bot, clock):
    bot.status = 500
    sandbox = launch(alice)
    worker_funding.fund(reload(sandbox))
    bot.status = 200
    clock.forward(seconds=5)
    sweep()

    assert reload(sandbox).funding == Funding.FUNDED


def test_an_attempt_whose_worker_was_killed_is_repeated(alice, runtime, bot, clock):
    sandbox = launch(alice)
    assert worker_funding._claim(sandbox, timezone.now())
    sweep()
    assert bot.asked_for == []

    clock.forward(seconds=2 * friendbot.TIMEOUT_SECONDS)
    sweep()
    assert reload(sandbox).funding == Funding.FUNDED


def test_a_duplicate_message_calls_friendbot_once(alice, runtime, bot):
    sandbox = launch(alice)
    worker_funding.fund(reload(sandbox))
    worker_funding.fund(reload(sandbox))

    assert len(bot.asked_for) == 1


@pytest.mark.parametrize("by", ["reaper", "button"])
def test_a_late_response_does_not_undo_a_funded_account(
    alice, runtime, bot, clock, monkeypatch, by
):
    sandbox = launch(alice)
    real = friendbot.ask_friendbot

    def slow_and_in_vain(public_key):
        monkeypatch.setattr(friendbot, "ask_friendbot", real)
        clock.forward(seconds=31)
        if by == "button":
            actions.retry_funding(reload(sandbox), alice)
        worker_funding.fund(reload(sandbox))
        assert reload(sandbox).funding == Funding.FUNDED
        raise friendbot.FriendbotRetryable("Friendbot can't be reached (ReadTimeout)")

    monkeypatch.setattr(friendbot, "ask_friendbot", slow_and_in_vain)
    worker_funding.fund(reload(sandbox))

    assert reload(sandbox).funding == Funding.FUNDED
    assert reload(sandbox).funding_error == ""


def test_the_retry_button_calls_friendbot_now(alice, runtime, bot, clock):
    bot.status = 400
    sandbox = launch(alice)
    worker_funding.fund(reload(sandbox))
    assert reload(sandbox).funding == Funding.FAILED

    bot.status = 200
    with run_on_commit():
        actions.retry_funding(sandbox, alice)

    assert reload(sandbox).funding == Funding.FUNDED
    assert reload(sandbox).funding_error == ""


def test_an_unavailable_friendbot_does_not_delay_a_launch(alice, runtime, settings):
    with raw_server(sends=None) as settings.FRIENDBOT_URL:
        sandbox = request(alice)
        began = monotonic()
        launched = launch(alice)

    assert monotonic() - began < 10
    assert launched.state == State.RUNNING
    assert reload(sandbox).funding == Funding.PENDING


def test_an_ended_sandbox_is_not_funded(alice, runtime, bot):
    sandbox = launch(alice)
    with run_on_commit():
        actions.destroy(sandbox, alice)
    worker_funding.fund(reload(sandbox))

    assert bot.asked_for == []


def test_a_late_response_does_not_affect_a_newer_attempt(alice, runtime, bot, clock, monkeypatch):
    bot.status = 500
    sandbox = launch(alice)
    real = friendbot.ask_friendbot

    def slow_and_refused(public_key):
        monkeypatch.setattr(friendbot, "ask_friendbot", real)
        clock.forward(seconds=31)
        worker_funding.fund(reload(sandbox))
        raise friendbot.FriendbotRejected("Friendbot rejected the account (400)")

    monkeypatch.setattr(friendbot, "ask_friendbot", slow_and_refused)
    worker_funding.fund(reload(sandbox))

    assert reload(sandbox).funding == Funding.PENDING
    assert reload(sandbox).funding_error == "Friendbot answered 500"
