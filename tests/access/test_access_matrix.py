"""Every route responds to every role and method as the access matrix says."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

from sandboxes.runtime import forget_runtimes
from tests import fuzz
from tests.access.environment import ROLES, AccessEnvironment, create_environment, rolled_back
from tests.access.matrix import DENIALS, MATRIX, Rule, rule_for
from tests.access.routes import Route, all_routes

if TYPE_CHECKING:
    from django.http import HttpResponse
    from pytest_django.plugin import DjangoDbBlocker

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
UNSAFE_METHODS = {*METHODS} - {"GET"}
KNOWN = [route for route in all_routes() if rule_for(route.pattern)]
SECURITY_HEADERS = (
    "Content-Security-Policy",
    "Cross-Origin-Opener-Policy",
    "Permissions-Policy",
    "Referrer-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
)
"""Headers of every response, in addition to `Cache-Control: no-store`."""
WITHOUT_EFFECT = {"/api/v1/docs", "/api/v1/openapi.json", "/admin/password_change/"}
"""Pages that accept POST requests but write nothing."""


@pytest.fixture(scope="module")
def env(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[AccessEnvironment]:
    """One environment for all tests, as every request is rolled back."""
    forget_runtimes()
    # More than a thousand requests are denied, and each would be logged.
    logging.disable()
    with django_db_blocker.unblock(), rolled_back():
        yield create_environment()
    logging.disable(logging.NOTSET)
    forget_runtimes()


def proposed_rule(env: AccessEnvironment, route: Route) -> str:
    """Return a rule that describes what the route does now."""
    outcomes = {
        method: [env.request(role, method, env.path(route)).outcome for role in ROLES]
        for method in METHODS
    }
    allowed = {
        method: " ".join(words)
        for method, words in outcomes.items()
        if not DENIALS.issuperset(words)
    }
    arguments = ", ".join(f'{method}="{words}"' for method, words in allowed.items())
    return f'    "{route.pattern}": rule({arguments}),'


def test_every_route_has_a_rule(env: AccessEnvironment) -> None:
    rules = [proposed_rule(env, route) for route in all_routes() if not rule_for(route.pattern)]
    advice = "Add these rules, if they are right, to tests/access/matrix.py:"
    assert rules == [], "\n".join([advice, *rules])


def test_every_rule_has_a_route() -> None:
    assert MATRIX.keys() - {route.pattern for route in all_routes()} == set()


@pytest.mark.parametrize("route", KNOWN, ids=lambda route: route.pattern or "/")
def test_every_role_gets_the_outcome_of_the_matrix(env: AccessEnvironment, route: Route) -> None:
    rule, path = rule_for(route.pattern), env.path(route)
    assert rule
    for method in METHODS:
        data = rule.data if method in ("POST", "PATCH") and rule.data else None
        for role in roles_to_test(route, rule, method):
            result = env.request(role, method, path, data)
            context = f"{method} {path} by {role}: {result.outcome}"
            if method in rule.outcomes:
                assert result.outcome == rule.outcomes[method][role], context
            else:
                # Some views treat every method like GET.
                like_get = rule.outcomes.get("GET", {}).get(role)
                assert result.outcome in DENIALS | {like_get}, context
            is_file = rule.cacheable and result.outcome == "200"
            expected = {"no-store"} if is_file else set()
            assert missing_headers(result.response) == expected, context
            denied = result.outcome in DENIALS and not rule.token_in_url
            if denied or not may_write(rule, method):
                assert result.wrote == set(), f"{context}, and it wrote"


def roles_to_test(route: Route, rule: Rule, method: str) -> Sequence[str]:
    """Return all roles, or for a method that everyone is denied only the one with most rights.

    `make fuzz` tests every role with every method.
    """
    if method in rule.outcomes or fuzz.CALLS:
        return ROLES
    return ["operator" if route.pattern.startswith("admin/") else "owner"]


def missing_headers(response: HttpResponse) -> set[str]:
    missing = set(SECURITY_HEADERS) - set(response.headers)
    return missing if "no-store" in response["Cache-Control"] else {*missing, "no-store"}


def may_write(rule: Rule, method: str) -> bool:
    return rule.journaled if method == "GET" else method in rule.outcomes


@pytest.mark.parametrize(
    "route",
    [
        route
        for route in KNOWN
        if (rule := rule_for(route.pattern))
        and not rule.token_in_url
        and UNSAFE_METHODS & rule.outcomes.keys()
    ],
    ids=lambda route: route.pattern,
)
def test_cross_site_requests_of_signed_in_browsers_are_denied(
    env: AccessEnvironment, route: Route
) -> None:
    rule, path = rule_for(route.pattern), env.path(route)
    assert rule
    for method in UNSAFE_METHODS & rule.outcomes.keys():
        for role in ("owner", "operator"):
            result = env.request(role, method, path, rule.data or None, csrf=False)
            context = f"{method} {path} by {role}: {result.outcome}"
            assert result.wrote == set(), context
            assert result.outcome == "403" or path in WITHOUT_EFFECT or rule.ignores_session, (
                context
            )
