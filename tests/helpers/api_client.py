"""A developer's program that knows only the API and a token."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.test import Client

from sandboxes.accounts import api_tokens
from sandboxes.models import Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer


class ApiClient:
    """Client of the API with a user's token of some scope."""

    def __init__(self, user: User, scope: str = Scope.ALL) -> None:
        token = api_tokens.issue(user, "a program", scope)[1]
        self.client = Client(headers={"Authorization": f"Bearer {token}"})

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send the body as JSON; headers are written `If_Match` for `If-Match`."""
        return self.client.generic(
            method,
            f"/api/v1{path}",
            "" if body is None else json.dumps(body),
            "application/json",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.send("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None) -> Answer:
        return self.send("PATCH", path, body)

    def delete(self, path: str) -> Answer:
        return self.send("DELETE", path)

    def launch(self, **choices: Any) -> dict[str, Any]:
        """Launch a sandbox and return it as described by the API."""
        answer = self.post("/sandboxes", choices)
        assert answer.status_code == HTTPStatus.CREATED, answer.content
        sandbox: dict[str, Any] = answer.json()
        return sandbox

    def look(self, sandbox: dict[str, Any]) -> dict[str, Any]:
        """Return the current state of the sandbox."""
        now: dict[str, Any] = self.get(f"/sandboxes/{sandbox['id']}").json()
        return now


def assert_problem(answer: Answer, status: int, *words: str) -> dict[str, Any]:
    """Assert that the response is a problem of this status whose detail contains these words."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail"} <= problem.keys()
    for word in words:
        assert word in problem["detail"]
    return problem
