"""Access to the API: without a token, as another user, as an operator, and with each scope."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from sandboxes.accounts import api_tokens
from sandboxes.lib import clock
from sandboxes.models import ApiToken, Sandbox, Scope
from tests.conftest import PASSWORD
from tests.helpers.api_client import ApiClient, assert_problem

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("runtime")]

OF_ONE = [
    ("GET", "", Scope.READ),
    ("GET", "/events", Scope.READ),
    ("GET", "/logs?service=db", Scope.READ),
    ("GET", "/usage", Scope.READ),
    ("GET", "/credentials", Scope.ALL),
    ("POST", "/extensions", Scope.LAUNCH),
    ("POST", "/touch", Scope.LAUNCH),
    ("POST", "/reset", Scope.LAUNCH),
    ("DELETE", "", Scope.LAUNCH),
]
OF_ALL = [
    ("GET", "/sandboxes", Scope.READ),
    ("POST", "/sandboxes", Scope.LAUNCH),
    ("GET", "/limits", Scope.READ),
    ("GET", "/blueprints", Scope.READ),
]
SCOPES = list(Scope)


def body(path: str) -> dict[str, int] | None:
    return {"minutes": 15} if path == "/extensions" else None


@pytest.fixture
def sandbox(alice: User) -> dict[str, Any]:
    return ApiClient(alice).launch()


def snapshot() -> dict[str, Any]:
    row = Sandbox.objects.get()
    return {"state": row.state, "expires_at": row.expires_at, "events": row.events.count()}


@pytest.mark.parametrize(("method", "path", "required"), OF_ONE)
def test_another_users_sandbox_is_not_found_for_developers_and_operators(
    sandbox: dict[str, Any], bob: User, olga: User, method: str, path: str, required: Scope
) -> None:
    before = snapshot()
    for user in (bob, olga):
        answer = ApiClient(user).send(method, f"/sandboxes/{sandbox['id']}{path}", body(path))
        unknown = ApiClient(user).send(method, f"/sandboxes/sbx_0000000000000000{path}", body(path))
        problem = assert_problem(answer, 404)
        assert problem["title"] == assert_problem(unknown, 404)["title"]
    assert snapshot() == before


@pytest.mark.parametrize(("method", "path", "required"), OF_ONE)
def test_sandbox_operations_require_a_token(
    sandbox: dict[str, Any], method: str, path: str, required: Scope
) -> None:
    before = snapshot()
    answer = Client().generic(method, f"/api/v1/sandboxes/{sandbox['id']}{path}")
    assert_problem(answer, 401, "Bearer")
    assert answer["WWW-Authenticate"] == "Bearer"
    assert snapshot() == before


@pytest.mark.parametrize(("method", "path", "required"), OF_ALL)
def test_other_operations_require_a_token(method: str, path: str, required: Scope) -> None:
    answer = Client().generic(method, f"/api/v1{path}")
    assert_problem(answer, 401)
    assert answer["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("method", "path", "required"), OF_ONE)
def test_a_token_allows_exactly_what_its_scope_says(
    alice: User, sandbox: dict[str, Any], method: str, path: str, required: Scope, scope: Scope
) -> None:
    before = snapshot()
    program = ApiClient(alice, scope)
    answer = program.send(method, f"/sandboxes/{sandbox['id']}{path}", body(path))
    if SCOPES.index(scope) >= SCOPES.index(required):
        assert answer.status_code in {200, 201, 202}
    else:
        assert_problem(answer, 403, required, scope)
        expected = f'Bearer error="insufficient_scope", scope="{required}"'
        assert answer["WWW-Authenticate"] == expected
        assert snapshot() == before


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("method", "path", "required"), OF_ALL)
def test_launching_requires_the_launch_scope(
    alice: User, method: str, path: str, required: Scope, scope: Scope
) -> None:
    answer = ApiClient(alice, scope).send(method, path)
    allowed = SCOPES.index(scope) >= SCOPES.index(required)
    assert (answer.status_code in {200, 201}) == allowed
    assert Sandbox.objects.exists() == (allowed and method == "POST")


def test_operators_list_only_their_own_sandboxes(sandbox: dict[str, Any], olga: User) -> None:
    operator = ApiClient(olga)
    own = operator.launch()
    assert [s["id"] for s in operator.get("/sandboxes").json()["data"]] == [own["id"]]


def invalid_token(alice: User, why: str) -> str:
    row, text = api_tokens.issue(alice, "soon useless")
    match why:
        case "revoked":
            api_tokens.revoke(row)
        case "expired":
            ApiToken.objects.update(expires_at=clock.now() - timedelta(seconds=1))
        case "its user is gone":
            type(alice).objects.update(is_active=False)
        case "one letter wrong":
            return text[:-1] + ("a" if text[-1] != "a" else "b")
        case "no token":
            return ""
        case "another kind":
            return "sk_test_0123456789abcdef"
        case "never issued":
            ApiToken.objects.all().delete()
    return text


REFUSED = [
    "revoked", "expired", "its user is gone", "one letter wrong", "no token", "another kind",
    "never issued",
]  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_an_invalid_token_is_rejected_even_with_a_valid_session(alice: User, why: str) -> None:
    text = invalid_token(alice, why)
    browser = Client(headers={"Authorization": f"Bearer {text}"})
    browser.force_login(alice)
    answer = browser.get("/api/v1/limits")
    assert_problem(answer, 401)
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_other_authentication_schemes_are_rejected(alice: User) -> None:
    answer = Client(headers={"Authorization": "Basic YWxpY2U6c2VjcmV0"}).get("/api/v1/limits")
    assert_problem(answer, 401)


class Browser:
    """A signed-in browser; CSRF checks are enabled as in production."""

    def __init__(self, user: User) -> None:
        self.client = Client(enforce_csrf_checks=True)
        assert self.client.login(username=user.username, email=user.email, password=PASSWORD)
        self.client.get("/api/v1/docs")

    @property
    def csrf_token(self) -> str:
        return str(self.client.cookies["csrftoken"].value)


def test_sessions_need_a_csrf_token_only_for_changes(alice: User) -> None:
    browser = Browser(alice)
    assert browser.client.get("/api/v1/sandboxes").status_code == 200
    refused = browser.client.post("/api/v1/sandboxes", {}, "application/json")
    assert_problem(refused, 403, "X-CSRFToken")
    assert not Sandbox.objects.exists()
    headers = {"X-CSRFToken": browser.csrf_token}
    made = browser.client.post("/api/v1/sandboxes", {}, "application/json", headers=headers)
    assert made.status_code == 201
    path = f"/api/v1/sandboxes/{made.json()['id']}"
    assert browser.client.get(f"{path}/credentials").status_code == 200
    assert_problem(browser.client.delete(path), 403)
    assert browser.client.delete(path, headers=headers).status_code == 202


def test_a_forged_csrf_token_is_rejected(alice: User) -> None:
    browser = Browser(alice)
    headers = {"X-CSRFToken": "x" * 32}
    refused = browser.client.post("/api/v1/sandboxes", {}, "application/json", headers=headers)
    assert_problem(refused, 403)
    assert not Sandbox.objects.exists()


def test_tokens_need_no_csrf_token_even_with_a_session(alice: User) -> None:
    browser = Browser(alice)
    token = api_tokens.issue(alice, "a program")[1]
    headers = {"Authorization": f"Bearer {token}"}
    made = browser.client.post("/api/v1/sandboxes", {}, "application/json", headers=headers)
    assert made.status_code == 201


def test_a_suspended_account_has_no_access(alice: User) -> None:
    program, browser = ApiClient(alice), Browser(alice)
    alice.is_active = False
    alice.save()
    assert_problem(program.get("/limits"), 401)
    assert_problem(browser.client.get("/api/v1/limits"), 401)
