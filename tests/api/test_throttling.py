"""Rate limits: by user and by client address, through proxies, and across processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from sandboxes import actions
from sandboxes.api import throttling
from sandboxes.lib.exceptions import RateLimited
from sandboxes.models import Sandbox
from tests.conftest import PASSWORD, Clock
from tests.helpers.api_client import ApiClient, assert_problem
from tests.helpers.scenarios import request

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("runtime", "fresh_minute"),
    pytest.mark.store,
]

WRONG = {"Authorization": "Bearer sbp_wrong"}
PROXY, CLIENT, OTHER = "10.0.0.1", "198.51.100.7", "198.51.100.8"


@pytest.fixture
def fresh_minute(clock: Clock) -> None:
    """Start at zero, in a minute that doesn't end during the test."""
    for throttle in (throttling.api_calls, throttling.invalid_tokens):
        throttle.reset()


def through_proxy(forwarded: str, peer: str = PROXY) -> dict[str, Any]:
    """Return the request headers and peer of a proxy, which appended the last address."""
    return {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}


def try_wrong_token(**sent: Any) -> int:
    return Client(headers=WRONG).get("/api/v1/limits", **sent).status_code


def sign_in_with_wrong_password(email: str, **sent: Any) -> int:
    form = {"login": email, "password": "wrong"}
    return Client().post(reverse("account_login"), form, **sent).status_code


def test_requests_of_a_user_are_counted_across_tokens(alice: User, bob: User, settings) -> None:
    settings.API_CALLS_PER_MINUTE = 4
    first, second = ApiClient(alice), ApiClient(alice)
    assert [first.get("/limits").status_code for _ in range(3)] == [200] * 3
    assert second.get("/limits").status_code == 200
    refused = second.get("/limits")

    problem = assert_problem(refused, 429, "4 per minute")
    assert problem["type"].endswith("#quota-exceeded")
    assert problem["violated-policies"] == ["calls"]
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert refused["RateLimit-Policy"] == '"calls";q=4;w=60'
    assert refused["RateLimit"] == f'"calls";r=0;t={refused["Retry-After"]}'
    assert ApiClient(bob).get("/limits").status_code == 200


def test_session_requests_count_with_token_requests_of_the_user(alice: User, settings) -> None:
    settings.API_CALLS_PER_MINUTE = 2
    browser = Client()
    browser.force_login(alice)
    assert ApiClient(alice).get("/limits").status_code == 200
    assert browser.get("/api/v1/limits").status_code == 200
    assert_problem(browser.get("/api/v1/limits"), 429)


def test_the_count_starts_again_each_minute(alice: User, settings, clock: Clock) -> None:
    settings.API_CALLS_PER_MINUTE = 1
    program = ApiClient(alice)
    program.get("/limits")
    refused = program.get("/limits")
    clock.forward(seconds=int(refused["Retry-After"]))
    assert program.get("/limits").status_code == 200


def test_a_rejected_request_has_no_effect(alice: User, settings) -> None:
    settings.API_CALLS_PER_MINUTE = 1
    program = ApiClient(alice)
    program.get("/limits")
    assert_problem(program.post("/sandboxes"), 429)
    assert not Sandbox.objects.exists()


def test_invalid_tokens_are_counted_by_address_and_a_valid_one_still_works(
    alice: User, settings
) -> None:
    settings.API_WRONG_TOKENS_PER_MINUTE = 3
    assert [try_wrong_token(REMOTE_ADDR=CLIENT) for _ in range(5)] == [401, 401, 401, 429, 429]
    assert try_wrong_token(REMOTE_ADDR=OTHER) == 401
    assert ApiClient(alice).client.get("/api/v1/limits", REMOTE_ADDR=CLIENT).status_code == 200


@pytest.mark.parametrize(
    ("proxies", "sent"),
    [
        (0, [through_proxy(f"203.0.113.{n}", peer=CLIENT) for n in range(4)]),
        (1, [through_proxy(f"203.0.113.{n}, {CLIENT}") for n in range(4)]),
        (2, [through_proxy(f"203.0.113.{n}, {CLIENT}, {PROXY}") for n in range(4)]),
        # Without a proxy, the peer is the client.
        (2, [through_proxy(f"203.0.113.{n}", peer=CLIENT) for n in range(4)]),
        (1, [through_proxy(f"203.0.113.1, no address {n}", peer=CLIENT) for n in range(4)]),
    ],
)
def test_forged_forwarded_addresses_do_not_evade_the_limit(
    alice: User, settings, proxies: int, sent: list[dict[str, Any]]
) -> None:
    settings.TRUSTED_PROXY_COUNT, settings.API_WRONG_TOKENS_PER_MINUTE = proxies, 3
    assert [try_wrong_token(**one) for one in sent] == [401, 401, 401, 429]


def test_clients_behind_one_proxy_are_counted_separately(settings) -> None:
    settings.TRUSTED_PROXY_COUNT, settings.API_WRONG_TOKENS_PER_MINUTE = 1, 1
    assert [try_wrong_token(**through_proxy(who)) for who in (CLIENT, OTHER, CLIENT)] == [
        401,
        401,
        429,
    ]


def test_failed_sign_ins_are_counted_by_the_real_client_address(alice: User, settings) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    forged = [through_proxy(f"203.0.113.{n}, {CLIENT}") for n in range(31)]
    answers = [
        sign_in_with_wrong_password(f"{n}@example.com", **one) for n, one in enumerate(forged)
    ]

    assert answers[-1] == 429
    assert set(answers[:10]) == {200}
    form = {"login": alice.email, "password": PASSWORD}
    elsewhere = Client().post(reverse("account_login"), form, **through_proxy(OTHER))
    assert elsewhere.status_code == 302


def can_sign_in(user: User, address: str) -> bool:
    form = {"login": user.email, "password": PASSWORD}
    page = Client().post(reverse("account_login"), form, **through_proxy(address))
    if page.status_code == 200:
        assert "Too many failed login attempts" in page.content.decode()
    return page.status_code == 302


def test_failed_sign_ins_from_one_address_lock_the_account_for_that_address_only(
    olga: User, settings
) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    for _ in range(5):
        sign_in_with_wrong_password(olga.email.upper(), **through_proxy("198.51.100.1"))
    assert not can_sign_in(olga, "198.51.100.1")
    assert can_sign_in(olga, "198.51.100.2")


def test_failed_sign_ins_from_many_addresses_lock_the_account_until_it_is_cleared(
    alice: User, settings, clock: Clock
) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    for n in range(99):
        sign_in_with_wrong_password(alice.email, **through_proxy(f"198.51.100.{n}"))
    clock.forward(seconds=1)
    assert can_sign_in(alice, "198.51.100.200")
    sign_in_with_wrong_password(alice.email, **through_proxy("198.51.100.99"))
    assert not can_sign_in(alice, "198.51.100.200")
    call_command("clear_sign_in_limits", alice.email.upper())
    assert can_sign_in(alice, "198.51.100.200")


def test_the_rate_limit_page_says_when_to_retry(settings) -> None:
    for n in range(31):
        last = Client().post(reverse("account_login"), {"login": f"{n}@x.y", "password": "wrong"})

    assert last.status_code == 429
    assert "Too many requests" in last.content.decode()
    assert int(last["Retry-After"]) == 60


def test_launches_per_user_and_hour_are_limited(
    alice: User, bob: User, settings, clock: Clock
) -> None:
    settings.SANDBOX_LAUNCHES_PER_HOUR = 2
    for _ in range(2):
        actions.destroy(request(alice), alice)
        clock.forward(minutes=10)
    program = ApiClient(alice)
    refused = program.post("/sandboxes")

    assert_problem(refused, 429, "2 per hour")
    assert refused["RateLimit-Policy"] == '"launches";q=2;w=3600'
    assert int(refused["Retry-After"]) == 40 * 60
    limits = program.get("/limits").json()
    assert (limits["can_launch"], limits["estimated_wait_seconds"]) == (False, 40 * 60)
    assert request(bob)
    clock.forward(minutes=40)
    assert request(alice)


def test_a_replayed_launch_counts_once(alice: User, settings) -> None:
    settings.SANDBOX_LAUNCHES_PER_HOUR = 1
    one, _ = actions.launch_sandbox(alice, actions.LaunchRequest(), "key")
    two, new = actions.launch_sandbox(alice, actions.LaunchRequest(), "key")

    assert (two, new) == (one, False)
    with pytest.raises(RateLimited):
        request(alice)


def test_processes_share_their_counts(settings) -> None:
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


def test_requests_are_accepted_without_the_cache(alice: User, settings, monkeypatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError

    settings.API_CALLS_PER_MINUTE = 1
    monkeypatch.setattr(cache, "add", unreachable)
    program = ApiClient(alice)
    assert [program.get("/limits").status_code for _ in range(3)] == [200] * 3
