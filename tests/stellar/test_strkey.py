"""Stellar keys and responses of Friendbot."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic

import pytest
import stellar_sdk

from sandboxes import actions
from sandboxes.models import Funding, State
from sandboxes.stellar import friendbot, strkey
from sandboxes.worker import funding
from tests.fakes.friendbot import funding_delay, raw_server
from tests.helpers.scenarios import (
    event_kinds,
    launch,
    reload,
    run_on_commit,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def short_timeout(monkeypatch) -> None:
    monkeypatch.setattr(friendbot, "TIMEOUT_SECONDS", 0.3)


# Keys


def test_keys_match_those_of_the_sdk():
    for _ in range(50):
        public_key, secret = strkey.new_key_pair()
        pair = stellar_sdk.Keypair.from_secret(secret)
        assert pair.public_key == public_key
        assert stellar_sdk.StrKey.is_valid_ed25519_public_key(public_key)
        assert stellar_sdk.StrKey.is_valid_ed25519_secret_seed(secret)


def test_the_encoding_matches_the_standard():
    """Check against the first account of SEP-5's first test case."""
    public_key = "GDRXE2BQUC3AZNPVFSCEZ76NJ3WWL25FYFK6RGZGIEKWE4SOOHSUJUJ6"
    secret = "SBGWSG6BTNCKCOB3DIFBGCVMUPQFYPA2G4O34RMTB343OYPXU5DJDVMN"
    pair = stellar_sdk.Keypair.from_secret(secret)

    assert strkey._str_key(strkey.PUBLIC_KEY, pair.raw_public_key()) == public_key
    assert strkey._str_key(strkey.SECRET_SEED, pair.raw_secret_key()) == secret


def test_keys_are_unique():
    assert len({key for _ in range(20) for key in strkey.new_key_pair()}) == 40


# Responses


def test_a_launch_funds_an_account(alice, runtime, bot):
    with run_on_commit():
        sandbox, _ = actions.launch_sandbox(alice, actions.LaunchRequest())

    sandbox = reload(sandbox)
    assert (sandbox.state, sandbox.funding) == (State.RUNNING, Funding.FUNDED)
    assert bot.asked_for == [sandbox.stellar_public_key]
    assert "funding_funded" in event_kinds(sandbox)
    assert sandbox.funding_due_at is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"detail": "account already funded to starting balance"}',
        b'{"title": "Bad Request", "detail": "createAccountAlreadyExist (AAAAAAAAAGT/////)"}',
        b'{"extras": {"result_codes": {"operations": ["op_already_exists"]}}}',
    ],
)
def test_already_funded_is_success(alice, runtime, bot, body):
    bot.status, bot.body = 400, body
    sandbox = launch(alice)
    funding.fund(reload(sandbox))

    assert reload(sandbox).funding == Funding.FUNDED


def test_any_other_400_is_final(alice, runtime, bot):
    bot.status, bot.body = 400, b'{"detail": "The request you sent was invalid in some way."}'
    sandbox = launch(alice)
    funding.fund(reload(sandbox))

    sandbox = reload(sandbox)
    assert (sandbox.funding, sandbox.funding_due_at) == (Funding.FAILED, None)
    assert sandbox.funding_error == "Friendbot rejected the account (400)"
    assert event_kinds(sandbox)[-1] == "funding_failed"


@pytest.mark.parametrize(("says", "waits"), [("40", 40), ("0", 5), ("86400", 3600)])
def test_a_429_is_retried_as_retry_after_says_within_limits(
    alice, runtime, bot, clock, says, waits
):
    bot.status, bot.headers = 429, {"Retry-After": says}
    sandbox = launch(alice)
    funding.fund(reload(sandbox))

    assert reload(sandbox).funding == Funding.PENDING
    assert reload(sandbox).funding_error == "Friendbot returned 429"
    assert funding_delay(sandbox) == timedelta(seconds=waits)


@pytest.mark.parametrize("says", ["soon", "-3", "9" * 400, "Wed, 21 Oct 2026 07:28:00 GMT", ""])
def test_an_invalid_retry_after_is_ignored(alice, runtime, bot, clock, says):
    bot.status, bot.headers = 429, {"Retry-After": says}
    sandbox = launch(alice)
    funding.fund(reload(sandbox))

    assert reload(sandbox).funding == Funding.PENDING
    assert timedelta(seconds=5) <= funding_delay(sandbox) <= timedelta(hours=1)


@pytest.mark.parametrize("status", [301, 403, 404, 500, 503])
def test_other_statuses_are_retried(alice, runtime, bot, status):
    bot.status = status
    sandbox = launch(alice)
    funding.fund(reload(sandbox))

    assert reload(sandbox).funding == Funding.PENDING
    assert reload(sandbox).funding_error == f"Friendbot returned {status}"


# Timeouts and invalid responses


def test_a_silent_friendbot_times_out(alice, runtime, settings, short_timeout):
    with raw_server(sends=None) as settings.FRIENDBOT_URL:
        sandbox = launch(alice)
        began = monotonic()
        funding.fund(reload(sandbox))

    assert monotonic() - began < 10
    assert reload(sandbox).funding == Funding.PENDING
    assert reload(sandbox).funding_error == "Friendbot can't be reached (TimedOut)"


def test_a_slow_friendbot_response_is_cut_off(alice, runtime, bot, short_timeout):
    bot.status, bot.drips = 400, True
    sandbox = launch(alice)
    began = monotonic()
    funding.fund(reload(sandbox))

    assert monotonic() - began < 10
    assert reload(sandbox).funding == Funding.FAILED


def test_a_huge_friendbot_response_is_cut_off(alice, runtime, bot):
    bot.status, bot.body = 400, b"x" * 5_000_000 + b"already funded"
    sandbox = launch(alice)
    funding.fund(reload(sandbox))

    assert reload(sandbox).funding == Funding.FAILED


@pytest.mark.parametrize("noise", [b"", b"\x00\xff garbage\r\n\r\n", b"HTTP/1.1 banana\r\n\r\n"])
def test_an_invalid_response_is_retried(alice, runtime, settings, noise):
    with raw_server(sends=noise) as settings.FRIENDBOT_URL:
        sandbox = launch(alice)
        funding.fund(reload(sandbox))

    assert reload(sandbox).funding == Funding.PENDING
    assert "can't be reached" in reload(sandbox).funding_error


def test_an_undecodable_body_is_tolerated(alice, runtime, bot):
    bot.status, bot.body = 400, b"\xff\xfe\x00"
    sandbox = launch(alice)
    funding.fund(reload(sandbox))

    assert reload(sandbox).funding == Funding.FAILED


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nowhere", "http://[", "http://host:port"])
def test_an_unreachable_or_invalid_url_is_retried(alice, runtime, settings, url):
    settings.FRIENDBOT_URL = url
    sandbox = launch(alice)
    funding.fund(reload(sandbox))

    assert reload(sandbox).funding == Funding.PENDING
    assert "can't be reached" in reload(sandbox).funding_error
