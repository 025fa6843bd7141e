"""Sign in to a portal and out of it."""

from __future__ import annotations

import os
import socket
import sys
import time
import webbrowser
from getpass import getpass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from sandbox_client import __version__, errors, sign_in
from sandbox_client.commands.output import Json, note, options, print_json, progress

if TYPE_CHECKING:
    import httpx2

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
"""https://www.rfc-editor.org/rfc/rfc8628#section-3.4"""
EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
"""https://www.rfc-editor.org/rfc/rfc8693#section-2.1"""
ID_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a name
ID_TOKEN_VARIABLE = "SANDBOX_ID_TOKEN"  # noqa: S105 - a name
SLOW_DOWN_SECONDS = 5
SECONDS = 30


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(login)
    app.command()(logout)
    app.command()(whoami)


def login(
    url: Annotated[
        str,
        typer.Argument(
            envvar=sign_in.URL_VARIABLE, help="The portal, such as https://portal.example.com."
        ),
    ],
    token: Annotated[
        bool, typer.Option("--token", help="Read a token from standard input, without a browser.")
    ] = False,
    ci: Annotated[
        bool, typer.Option("--ci", help="In a CI job: sign in with the job's identity token.")
    ] = False,
    scope: Annotated[
        str | None, typer.Option(help="What the token allows: read, launch or all (default).")
    ] = None,
) -> None:
    """Sign in to a portal, in the browser."""
    address = sign_in.normalize(url)
    if ci:
        secret = _from_identity_token(address, scope)
    else:
        secret = _read_token() if token else _from_browser(address, scope or "all")
    if not secret:
        raise errors.NotSignedIn("Standard input contains no token.")
    found = sign_in.SignIn(address, secret)
    _limits(found)
    place = sign_in.store(found)
    note(f"Signed in to {address}. The token is in {place}.")


def logout() -> None:
    """Forget the portal and its token on this machine."""
    url = sign_in.forget()
    note(f"Signed out of {url}." if url else "You weren't signed in.")


def whoami(json: Json = False) -> None:
    """Show the portal, and how many sandboxes you have and may have."""
    found = sign_in.current()
    limits = _limits(found)
    if options.json:
        print_json({"portal": found.url, "client": __version__, **limits})
        return
    typer.echo(f"{found.url}: {limits['active']} of {limits['limit']} sandboxes.")


def version_hint(error: errors.ProblemError) -> str:
    """Return a sentence if the portal comes with another version of this client."""
    if error.status not in (404, 405, 422):
        return ""
    try:
        root = _get_root(sign_in.current().url)
    except errors.SandboxError:
        return ""
    offered = root.get("client", {})
    if offered.get("version") in (None, __version__):
        return ""
    return (
        f"This is version {__version__} of the client, and the portal comes with "
        f"{offered['version']}. Install that one: pipx install --force {offered['url']}"
    )


def _read_token() -> str:
    # A terminal would show what is typed.
    return (getpass("Token: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()


def _limits(found: sign_in.SignIn) -> dict[str, Any]:
    from sandbox_client.synchronous import Client

    with Client(found.url, found.token) as portal:
        return portal.limits()


def _get_root(address: str) -> dict[str, Any]:
    return dict(_send("GET", f"{address}/api/v1"))


def _from_browser(address: str, scope: str) -> str:
    """Return a token by the device authorization of RFC 8628."""
    root = _get_root(address)
    if "device_authorization_endpoint" not in root:
        raise errors.NotSignedIn(
            f"{address} doesn't offer signing in from the command line. Create a token on its page "
            "“API tokens” and run “sandbox login --token”."
        )
    started = _send(
        "POST",
        root["device_authorization_endpoint"],
        {"client_id": "sandbox-client", "scope": scope, "device_name": socket.gethostname()},
    )
    if "error" in started:
        raise errors.NotSignedIn(started.get("error_description") or started["error"])
    page = started.get("verification_uri_complete") or started["verification_uri"]
    note(f"Open {page}\nand confirm the code {started['user_code']}.")
    if sys.stdout.isatty():
        webbrowser.open(page)
    with progress("Waiting for you to confirm"):
        return _poll(root["token_endpoint"], started)


def _from_identity_token(address: str, scope: str | None) -> str:
    """Return a token for the identity token of this CI job, by the exchange of RFC 8693."""
    form = {
        "grant_type": EXCHANGE_GRANT,
        "subject_token": _identity_token(address),
        "subject_token_type": ID_TOKEN_TYPE,
    }
    if scope:
        form["scope"] = scope
    answer = _send("POST", str(_get_root(address)["token_endpoint"]), form)
    if "error" in answer:
        raise errors.NotSignedIn(answer.get("error_description") or answer["error"])
    return str(answer["access_token"])


def _identity_token(address: str) -> str:
    """Return the token that GitLab set as a variable, or that GitHub gives on request."""
    if token := os.environ.get(ID_TOKEN_VARIABLE):
        return token
    url = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL")
    if not url:
        raise errors.NotSignedIn(
            "This job has no identity token. In GitHub Actions, give it the permission "
            f"“id-token: write”; in GitLab, set {ID_TOKEN_VARIABLE} below id_tokens. "
            f"See {address}/docs/ci/"
        )
    secret = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")
    separator = "&" if "?" in url else "?"
    answer = _send(
        "GET",
        f"{url}{separator}audience={quote(address, safe='')}",
        headers={"Authorization": f"Bearer {secret}"},
    )
    return str(answer.get("value", ""))


def _poll(endpoint: str, started: dict[str, Any]) -> str:
    interval = float(started.get("interval", SLOW_DOWN_SECONDS))
    deadline = time.monotonic() + float(started["expires_in"])
    form = {
        "grant_type": DEVICE_GRANT,
        "device_code": started["device_code"],
        "client_id": "sandbox-client",
    }
    while time.monotonic() < deadline:
        time.sleep(interval)
        try:
            answer = _send("POST", endpoint, form)
        except errors.PortalUnreachable:  # RFC 8628, section 3.5: poll less often.
            interval *= 2
            continue
        match answer.get("error"):
            case None:
                return str(answer["access_token"])
            case "authorization_pending":
                continue
            case "slow_down":
                interval += SLOW_DOWN_SECONDS
            case "access_denied":
                raise errors.NotSignedIn("You denied the sign-in.")
            case _:
                break
    raise errors.NotSignedIn("The code has expired. Run “sandbox login” again.")


def _send(
    method: str,
    url: str,
    form: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Send a request without a token and return the JSON, also that of a refusal with `error`."""
    import httpx2

    from sandbox_client import protocol

    try:
        response: httpx2.Response = httpx2.request(
            method,
            url,
            data=form,
            timeout=SECONDS,
            verify=protocol.ssl_context(None),
            headers={"User-Agent": protocol.USER_AGENT, **(headers or {})},
        )
    except httpx2.HTTPError as error:
        raise errors.PortalUnreachable(protocol.unreachable(url, error)) from error
    content_type = response.headers.get("content-type", "")
    if (
        response.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.TOO_MANY_REQUESTS)
        and "json" in content_type
        and "error" in response.json()
    ):
        return dict(response.json())
    return dict(
        protocol.parse(
            response.status_code,
            content_type,
            response.content,
            response.headers.get("retry-after"),
        )
    )
