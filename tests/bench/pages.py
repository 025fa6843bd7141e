"""Response times and CPU time of pages, API and admin over a kept-alive connection."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

from tests.bench import processes
from tests.bench.environment import SANDBOXES, PortalEnvironment, call_in_portal, destroy, launch
from tests.bench.http_client import HttpClient, HttpResponse
from tests.bench.launching import run_parallel

CARDS = 3
WARM_UP = 5
"""Requests that are not counted, in which the two web workers load their templates."""

Request = Callable[[str], HttpResponse]


def pages(env: PortalEnvironment, ended: list[int], times: int) -> dict[str, Any]:
    """Measure each page at the client and in the server, by the number of ended sandboxes."""
    developer = env.account("developer")
    launched = [launch(developer)[1]]
    queries = {"1": call_in_portal(env.portal, "count_queries", "/")}
    launched += [
        sandbox for _, sandbox in run_parallel(lambda _: launch(env.account("developer")), 2)
    ]
    queries[str(CARDS)] = call_in_portal(env.portal, "count_queries", "/")
    measured, existing = {}, 0
    for count in ended:
        missing = count - existing
        call_in_portal(env.portal, "create_ended_sandboxes", missing, min(missing, 1000))
        existing = count
        requests = _requests(env, launched[0]["id"])
        measured[str(count)] = {
            name: _measure(env, f"{name.replace(' ', '-')}-{count}", send, times)
            for name, send in requests.items()
        }
    for sandbox in launched:
        destroy(env, developer, sandbox)
    return {"by_ended_count": measured, "queries": queries}


def _measure(
    env: PortalEnvironment, name: str, send: Request, times: int
) -> dict[str, list[float]]:
    """Measure requests one after the other.

    `cpu` is the mean CPU time of a request in all processes of `web`: the kernel counts it in
    hundredths of a second, too coarse for a single request.
    """
    for _ in range(WARM_UP):
        send("warm-up")
    cpu_began = processes.web_cpu_seconds(env.portal)
    responses = [send(name) for _ in range(times)]
    cpu = (processes.web_cpu_seconds(env.portal) - cpu_began) / times
    server = env.server_seconds(name, responses[0].status, times)
    return {
        "client": [response.seconds for response in responses],
        "server": server,
        "cpu": [cpu],
        "bytes": [len(responses[-1].body)],
    }


def _requests(env: PortalEnvironment, sandbox: str) -> dict[str, Request]:
    browser, operator = env.browser("developer"), env.browser("operator")
    program = env.account("developer")
    admin = "/admin/sandboxes/sandbox/"
    admin_id = _admin_id(operator, admin, sandbox)
    return {
        "dashboard": _get(browser, "/"),
        "card poll": _poll(browser, rf"/sandboxes/{sandbox}/card/\?etag=[\w.]+", sandbox),
        "dashboard poll": _poll(browser, r"/overview/\?etag=[\w.]+&revision=\w+"),
        "warnings poll": _get(browser, "/warnings/?where=cards&etag=", 204),
        "usage poll": _poll(browser, rf"/sandboxes/{sandbox}/usage/\?etag=\d+", sandbox),
        "logs via worker": _get(browser, f"/sandboxes/{sandbox}/logs/?service=api"),
        "sandbox details": _get(browser, f"/sandboxes/{sandbox}/"),
        "history": _get(browser, "/history/"),
        "API list": _get(program, SANDBOXES),
        "API list, 20 in summary": _get(program, f"{SANDBOXES}?limit=20&view=summary"),
        "API get": _get(program, f"{SANDBOXES}/{sandbox}"),
        "admin list": _get(operator, admin),
        "admin sandbox": _get(operator, f"{admin}{admin_id}/change/"),
    }


def _get(client: HttpClient, path: str, status: int = 200) -> Request:
    def send(name: str) -> HttpResponse:
        response = client.get(path, X_Bench=name)
        if response.status != status:
            raise RuntimeError(f"{path} returned status {response.status} instead of {status}.")
        return response

    return send


def _poll(browser: HttpClient, pattern: str, sandbox: str = "") -> Request:
    """Return the poll that the dashboard, or the page of this sandbox, currently contains.

    Only responses without news (204) count. After a response with news, the URL is read from the
    page again.
    """
    path = ""
    page_path = f"/sandboxes/{sandbox}/" if sandbox else "/"
    htmx = {"HX_Request": "true", "HX_Current_URL": page_path}

    def send(name: str) -> HttpResponse:
        nonlocal path
        for _ in range(3):
            if path:
                response = browser.get(path, X_Bench=name, **htmx)
                if response.status == 204:
                    return response
            page = html.unescape(browser.get(page_path).body.decode())
            path = re.search(pattern, page)[0]  # type: ignore[index]
        raise RuntimeError(f"{path} always returned news.")

    return send


def _admin_id(operator: HttpClient, admin: str, sandbox: str) -> str:
    """Return the sandbox's primary key, as the admin's URLs contain it."""
    listed = operator.get(f"{admin}?q={sandbox}").body.decode()
    found = re.search(rf"{admin}(\d+)/change/", listed)
    if not found:
        raise RuntimeError(f"The admin's list doesn't contain {sandbox}.")
    return found[1]
