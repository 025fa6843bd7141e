"""Not too often: whoever asks, through whatever proxies, of whichever process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.api import throttling
from sandboxes.lib.exceptions import RateLimited
from sandboxes.models import Sandbox
from tests.conftest import PASSWORD, Clock
from tests.helpers.api_client import Program, assert_problem
from tests.helpers.scenarios import request

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runtime", "fresh"), pytest.mark.store]

WRONG = {"Authorization": "Bearer sbp_wrong"}
PROXY, CLIENT, OTHER = "10.0.0.1", "198.51.100.7", "198.51.100.8"


@pytest.fixture
def fresh(clock: Clock) -> None:
    """Nothing was counted yet, and the minute doesn't end."""
    for throttle in (throttling.api_calls, throttling.invalid_tokens):
        throttle.reset()


def behind(forwarded: str, peer: str = PROXY) -> dict[str, Any]:
    """What a request is like that came over a proxy, which appended the last entry."""
    return {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}


def guess(**sent: Any) -> int:
    return Client(headers=WRONG).get("/api/v1/limits", **sent).status_code


def sign_in_wrongly(email: str, **sent: Any) -> int:
    form = {"login": email, "password": "wrong"}
    return Client().post(reverse("account_login"), form, **sent).status_code


def test_calls_of_one_person_are_counted_whatever_token_they_bring(
    alice: User, bob: User, settings
) -> None:
    settings.API_CALLS_PER_MINUTE = 4
    first, second = Program(alice), Program(alice)
    assert [first.get("/limits").status_code for _ in range(3)] == [200] * 3
    assert second.get("/limits").status_code == 200
    refused = second.get("/limits")

    problem = assert_problem(refused, 429, "4 in a minute")
    assert problem["type"].endswith("#quota-exceeded")
    assert problem["violated-policies"] == ["calls"]
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert refused["RateLimit-Policy"] == '"calls";q=4;w=60'
    assert refused["RateLimit"] == f'"calls";r=0;t={refused["Retry-After"]}'
    assert Program(bob).get("/limits").status_code == 200


def test_a_browser_is_counted_with_the_tokens_of_the_same_person(alice: User, settings) -> None:
    settings.API_CALLS_PER_MINUTE = 2
    browser = Client()
    browser.force_login(alice)
    assert Program(alice).get("/limits").status_code == 200
    assert browser.get("/api/v1/limits").status_code == 200
    assert_problem(browser.get("/api/v1/limits"), 429)


def test_in_the_next_minute_it_goes_on(alice: User, settings, clock: Clock) -> None:
    settings.API_CALLS_PER_MINUTE = 1
    program = Program(alice)
    program.get("/limits")
    refused = program.get("/limits")
    clock.forward(seconds=int(refused["Retry-After"]))
    assert program.get("/limits").status_code == 200


def test_what_is_refused_does_nothing(alice: User, settings) -> None:
    settings.API_CALLS_PER_MINUTE = 1
    program = Program(alice)
    program.get("/limits")
    assert_problem(program.post("/sandboxes"), 429)
    assert not Sandbox.objects.exists()


def test_wrong_tokens_are_counted_by_address_and_a_good_one_still_lets_in(
    alice: User, settings
) -> None:
    settings.API_WRONG_TOKENS_PER_MINUTE = 3
    assert [guess(REMOTE_ADDR=CLIENT) for _ in range(5)] == [401, 401, 401, 429, 429]
    assert guess(REMOTE_ADDR=OTHER) == 401
    assert Program(alice).client.get("/api/v1/limits", REMOTE_ADDR=CLIENT).status_code == 200


@pytest.mark.parametrize(
    ("proxies", "sent"),
    [
        (0, [behind(f"203.0.113.{n}", peer=CLIENT) for n in range(4)]),
        (1, [behind(f"203.0.113.{n}, {CLIENT}") for n in range(4)]),
        (2, [behind(f"203.0.113.{n}, {CLIENT}, {PROXY}") for n in range(4)]),
        # Round the proxies: who connects is who asks.
        (2, [behind(f"203.0.113.{n}", peer=CLIENT) for n in range(4)]),
        (1, [behind(f"203.0.113.1, no address {n}", peer=CLIENT) for n in range(4)]),
    ],
)
def test_who_makes_up_forwarded_addresses_is_counted_all_the_same(
    alice: User, settings, proxies: int, sent: list[dict[str, Any]]
) -> None:
    settings.TRUSTED_PROXY_COUNT, settings.API_WRONG_TOKENS_PER_MINUTE = proxies, 3
    assert [guess(**one) for one in sent] == [401, 401, 401, 429]


def test_two_clients_of_one_proxy_are_two(settings) -> None:
    settings.TRUSTED_PROXY_COUNT, settings.API_WRONG_TOKENS_PER_MINUTE = 1, 1
    assert [guess(**behind(who)) for who in (CLIENT, OTHER, CLIENT)] == [401, 401, 429]


def test_signing_in_is_counted_by_the_real_client(alice: User, settings) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    forged = [behind(f"203.0.113.{n}, {CLIENT}") for n in range(31)]
    answers = [sign_in_wrongly(f"{n}@example.com", **one) for n, one in enumerate(forged)]

    assert answers[-1] == 429
    assert set(answers[:10]) == {200}
    form = {"login": alice.email, "password": PASSWORD}
    elsewhere = Client().post(reverse("account_login"), form, **behind(OTHER))
    assert elsewhere.status_code == 302


def test_one_account_is_guessed_at_from_many_addresses_in_vain(alice: User, settings) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    for n in range(5):
        sign_in_wrongly(alice.email, **behind(f"198.51.100.{n}"))
    form = {"login": alice.email, "password": PASSWORD}
    page = Client().post(reverse("account_login"), form, **behind("198.51.100.99"))

    assert page.status_code == 200
    assert "Too many failed login attempts" in page.content.decode()


def test_too_many_tries_are_told_on_a_page_that_says_when_to_come_back(settings) -> None:
    for n in range(31):
        last = Client().post(reverse("account_login"), {"login": f"{n}@x.y", "password": "wrong"})

    assert last.status_code == 429
    assert "Too many requests" in last.content.decode()
    assert int(last["Retry-After"]) == 60


def test_launches_of_one_person_in_an_hour_are_bounded(
    alice: User, bob: User, settings, clock: Clock
) -> None:
    settings.SANDBOX_LAUNCHES_PER_HOUR = 2
    for _ in range(2):
        actions.destroy(request(alice), alice)
        clock.forward(minutes=10)
    program = Program(alice)
    refused = program.post("/sandboxes")

    assert_problem(refused, 429, "2 in an hour")
    assert refused["RateLimit-Policy"] == '"launches";q=2;w=3600'
    assert int(refused["Retry-After"]) == 40 * 60
    limits = program.get("/limits").json()
    assert (limits["can_launch"], limits["estimated_wait_seconds"]) == (False, 40 * 60)
    assert request(bob)
    clock.forward(minutes=40)
    assert request(alice)


def test_a_launch_that_is_repeated_with_its_key_is_one(alice: User, settings) -> None:
    settings.SANDBOX_LAUNCHES_PER_HOUR = 1
    one, _ = actions.launch_sandbox(alice, actions.LaunchRequest(), "key")
    two, new = actions.launch_sandbox(alice, actions.LaunchRequest(), "key")

    assert (two, new) == (one, False)
    with pytest.raises(RateLimited):
        request(alice)


def test_several_processes_count_together(settings) -> None:
    settings.API_CALLS_PER_MINUTE = 100
    processes = [throttling.Throttle("calls", "API_CALLS_PER_MINUTE") for _ in range(4)]

    def is_allowed(process: throttling.Throttle) -> bool:
        try:
            process.count("alice")
        except RateLimited:
            return False
        return True

    allowed = sum(is_allowed(processes[n % 4]) for n in range(400))
    assert 100 <= allowed <= 100 + 4 * (100 // throttling.FLUSHES_PER_LIMIT)


def test_a_cache_that_is_away_refuses_nobody(alice: User, settings, monkeypatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError

    settings.API_CALLS_PER_MINUTE = 1
    monkeypatch.setattr(cache, "add", away)
    program = Program(alice)
    assert [program.get("/limits").status_code for _ in range(3)] == [200] * 3
