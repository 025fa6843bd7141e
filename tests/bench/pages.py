"""Pages, API and admin over HTTP, as somebody with an open connection sees them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

from tests.bench.environment import LAUNCH, Stage, destroy, inside, launch
from tests.bench.http_client import Answer, Caller
from tests.bench.launching import side_by_side

CARDS = 3
WARM_UP = 5
"""Requests that are not counted: two workers load their templates."""

Request = Callable[[str], Answer]


def pages(stage: Stage, past: list[int], times: int) -> dict[str, Any]:
    """Seconds of each page at the client and in the server, with so many past sandboxes."""
    developer = stage.account("developer")
    made = [launch(developer)[1]]
    queries = {"1": inside(stage.portal, "queries", "/")}
    made += [
        sandbox for _, sandbox in side_by_side(lambda _: launch(stage.account("developer")), 2)
    ]
    queries[str(CARDS)] = inside(stage.portal, "queries", "/")
    found, there = {}, 0
    for count in past:
        inside(stage.portal, "past", count - there, min(count - there, 1000))
        there = count
        requests = _requests(stage, made[0]["id"])
        found[str(count)] = {
            name: _timed(stage, f"{name.replace(' ', '-')}-{count}", ask, times)
            for name, ask in requests.items()
        }
    for sandbox in made:
        destroy(stage, developer, sandbox)
    return {"past": found, "queries": queries}


def _timed(stage: Stage, name: str, ask: Request, times: int) -> dict[str, list[float]]:
    for _ in range(WARM_UP):
        ask("warm-up")
    answers = [ask(name) for _ in range(times)]
    server = stage.server_seconds(name, answers[0].status, times)
    return {"client": [answer.seconds for answer in answers], "server": server}


def _requests(stage: Stage, sandbox: str) -> dict[str, Request]:
    browser, operator = stage.browser("developer"), stage.browser("operator")
    program = stage.account("developer")
    admin = "/admin/sandboxes/sandbox/"
    number = _number(operator, admin, sandbox)
    return {
        "dashboard": _get(browser, "/"),
        "card poll": _poll(browser, rf"/sandboxes/{sandbox}/card/\?seen=[\w.]+"),
        "overview poll": _poll(browser, r"/overview/\?seen=[\w.]+"),
        "usage poll": _poll(browser, rf"/sandboxes/{sandbox}/usage/\?seen=\d+", sandbox),
        "log, read by a worker": _get(browser, f"/sandboxes/{sandbox}/logs/?service=api"),
        "sandbox": _get(browser, f"/sandboxes/{sandbox}/"),
        "history": _get(browser, "/history/"),
        "api list": _get(program, LAUNCH),
        "api get": _get(program, f"{LAUNCH}/{sandbox}"),
        "admin list": _get(operator, admin),
        "admin sandbox": _get(operator, f"{admin}{number}/change/"),
    }


def _get(caller: Caller, path: str, status: int = 200) -> Request:
    def ask(name: str) -> Answer:
        answer = caller.get(path, X_Bench=name)
        if answer.status != status:
            raise RuntimeError(f"{path} was answered with {answer.status}, not {status}.")
        return answer

    return ask


def _poll(browser: Caller, address: str, sandbox: str = "") -> Request:
    """The poll as the dashboard has it now, or the page of this sandbox: with nothing new, its
    answer is empty.

    When there was news in between, the address is looked up again and the news not counted.
    """
    path = ""

    def ask(name: str) -> Answer:
        nonlocal path
        for _ in range(3):
            if path:
                answer = browser.get(path, X_Bench=name, HX_Request="true")
                if answer.status == 204:
                    return answer
            there = f"/sandboxes/{sandbox}/" if sandbox else "/"
            page = html.unescape(browser.get(there).body.decode())
            path = re.search(address, page)[0]  # type: ignore[index]
        raise RuntimeError(f"{path} has news all the time.")

    return ask


def _number(operator: Caller, admin: str, sandbox: str) -> str:
    """What the admin's address calls it."""
    listed = operator.get(f"{admin}?q={sandbox}").body.decode()
    found = re.search(rf"{admin}(\d+)/change/", listed)
    if not found:
        raise RuntimeError(f"The admin's list does not know {sandbox}.")
    return found[1]
