"""Funding attempts: schedule, limit and recovery."""

from __future__ import annotations

import json
from datetime import timedelta
from email.utils import format_datetime
from time import monotonic

import pytest
from django.utils import timezone

from sandboxes import actions
from sandboxes.models import Funding, FundingStatus, Sandbox, State
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
    real = worker_funding.request_funds

    def slow_and_in_vain(public_key):
        monkeypatch.setattr(worker_funding, "request_funds", real)
        clock.forward(seconds=31)
        if by == "button":
            actions.retry_funding(reload(sandbox), alice)
        worker_funding.fund(reload(sandbox))
        assert reload(sandbox).funding == Funding.FUNDED
        raise friendbot.FundingRetryable("Friendbot can't be reached (ReadTimeout)")

    monkeypatch.setattr(worker_funding, "request_funds", slow_and_in_vain)
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
    real = worker_funding.request_funds

    def slow_and_refused(public_key):
        monkeypatch.setattr(worker_funding, "request_funds", real)
        clock.forward(seconds=31)
        worker_funding.fund(reload(sandbox))
        raise friendbot.FundingRejected("Friendbot rejected the account (400)")

    monkeypatch.setattr(worker_funding, "request_funds", slow_and_refused)
    worker_funding.fund(reload(sandbox))

    assert reload(sandbox).funding == Funding.PENDING
    assert reload(sandbox).funding_error == "Friendbot returned 500"


def test_while_friendbot_fails_one_account_is_tried_after_each_pause(
    alice, bob, runtime, bot, clock
):
    bot.status = 503
    rows = [launch(user) for user in (alice, alice, alice, bob, bob)]
    tried = []
    for seconds in (0, 4, 1, 9, 1, 19, 1, 39, 1, 59, 1, 59, 1):
        clock.forward(seconds=seconds)
        sweep()
        sweep()
        tried.append(len(bot.asked_for))

    assert tried == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]
    assert set(bot.asked_for) == {row.stellar_public_key for row in rows}, "each has its turn"
    assert not Sandbox.objects.exclude(funding=Funding.PENDING).exists()


def test_the_first_success_after_an_outage_funds_all_accounts_that_wait(
    alice, bob, runtime, bot, clock
):
    bot.status = 503
    rows = [launch(user) for user in (alice, alice, bob, bob)]
    sweep()
    bot.status = 200
    clock.forward(seconds=5)
    sweep()

    assert {reload(row).funding for row in rows} == {Funding.FUNDED}
    assert FundingStatus.current().failures == 0


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_delays_the_attempts_for_all_accounts(alice, bob, runtime, bot, clock, form):
    at = timezone.now() + timedelta(seconds=120)
    bot.status = 429
    bot.headers = {"Retry-After": "120" if form == "seconds" else format_datetime(at, usegmt=True)}
    rows = [launch(alice), launch(bob)]
    sweep()
    bot.status = 200
    clock.forward(seconds=118)
    sweep()
    assert len(bot.asked_for) == 1

    clock.forward(seconds=3)
    sweep()
    assert {reload(row).funding for row in rows} == {Funding.FUNDED}


def test_a_pause_longer_than_any_is_over(alice, runtime, bot):
    """Check that attempts continue after the clock was corrected backwards."""
    sandbox = launch(alice)
    FundingStatus.store(failures=3, retry_at=timezone.now() + timedelta(days=30))
    sweep()

    assert reload(sandbox).funding == Funding.FUNDED


def rejected_transaction(transaction, *operations):
    """Return Friendbot's body for a transaction with these result codes."""
    codes = {"transaction": transaction, "operations": list(operations)}
    return {
        "title": "Transaction Failed",
        "status": 400,
        "extras": {"envelope_xdr": "AAAA", "result_codes": codes},
    }


BAD_REQUESTS = [
    (rejected_transaction("tx_failed", "op_already_exists"), Funding.FUNDED, False),
    ({"detail": "account already funded to starting balance"}, Funding.FUNDED, False),
    ({"detail": "createAccountAlreadyExist (AAAAAAAAAGT/////AAAAAQAA)"}, Funding.FUNDED, False),
    (rejected_transaction("tx_bad_seq"), Funding.PENDING, False),
    (rejected_transaction("txBAD_SEQ"), Funding.PENDING, False),
    ({"detail": "failed: TransactionResultCodeTxBadSeq"}, Funding.PENDING, False),
    (rejected_transaction("tx_too_late"), Funding.PENDING, False),
    ({"detail": "Timeout while waiting for the transaction"}, Funding.PENDING, False),
    (rejected_transaction("tx_insufficient_fee"), Funding.PENDING, True),
    (rejected_transaction("tx_insufficient_balance"), Funding.PENDING, True),
    (rejected_transaction("tx_no_source_account"), Funding.PENDING, True),
    (rejected_transaction("tx_internal_error"), Funding.PENDING, True),
    (rejected_transaction("tx_failed", "op_underfunded"), Funding.PENDING, True),
    (rejected_transaction("tx_failed", "op_malformed"), Funding.FAILED, False),
    (rejected_transaction("tx_malformed"), Funding.FAILED, False),
    ({"title": "Bad Request", "extras": {"invalid_field": "addr"}}, Funding.FAILED, False),
    ({}, Funding.FAILED, False),
]
"""Bodies of responses with status 400, what becomes of the account, and whether others pause."""


@pytest.mark.parametrize(("body", "funding", "pauses"), BAD_REQUESTS)
def test_a_bad_request_is_final_only_if_it_cannot_heal(
    alice, runtime, bot, clock, body, funding, pauses
):
    bot.status, bot.body = 400, json.dumps(body).encode()
    sandbox = launch(alice)
    worker_funding.fund_due()

    assert reload(sandbox).funding == funding
    assert (FundingStatus.current().retry_at is not None) == pauses


def test_many_failures_in_a_row_pause_all_attempts(alice, bob, runtime, bot, clock):
    bot.status, bot.body = 400, json.dumps(rejected_transaction("tx_bad_seq")).encode()
    for user in (alice, alice, alice, bob, bob, bob):
        launch(user)
    worker_funding.fund_due()

    assert len(bot.asked_for) == 5
    assert FundingStatus.current().retry_at is not None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_status_of_friendbot_itself_is_retried(alice, runtime, bot, clock, status):
    bot.status = status
    sandbox = launch(alice)
    worker_funding.fund_due()

    assert reload(sandbox).funding == Funding.PENDING
