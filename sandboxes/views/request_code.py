"""A request to a sandbox's API as code: curl, Python and JavaScript."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sandboxes.blueprints.auth import Auth, AuthType
from sandboxes.blueprints.blueprint import variable_name

JSON = ("Content-Type", "application/json")
IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*")


@dataclass(frozen=True)
class Access:
    """The base URL of a sandbox's API, and the secret that its authentication needs."""

    address: str = ""
    auth: Auth = field(default_factory=Auth)
    secret: str = field(default="", repr=False)
    is_variable: bool = False
    """Whether the secret is a variable that the shell fills in, such as `$API_KEY`."""

    @property
    def is_complete(self) -> bool:
        """Whether the API can be called: its address and its secret, if it has one, are known."""
        return bool(self.address and (self.secret or self.auth.type == AuthType.NONE))

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers that authenticate."""
        return self.auth.headers(self.secret)

    def with_variable(self) -> Access:
        """Return the access with the name of a shell variable instead of the secret."""
        name = self.auth.credential
        if not name:
            return self
        return replace(self, secret=f"${variable_name(name)}", is_variable=True)


@dataclass(frozen=True)
class Call:
    """A request. `body` is JSON, or empty; `returns_json` says whether to parse the response."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    body: str = ""
    returns_json: bool = True


def curl(call: Call, access: Access) -> str:
    """Return the request as a curl command."""
    words = ["curl"] if call.method == "GET" else ["curl", "-X", call.method]
    lines = [shlex.join([*words, access.address + call.target])]
    lines += _curl_auth(access)
    headers = [*call.headers, *([JSON] if call.body else [])]
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers]
    if call.body:
        lines.append(f"--data-raw {shlex.quote(call.body)}")
    return " \\\n  ".join(lines)


def _curl_auth(access: Access) -> Iterator[str]:
    if access.secret and access.auth.type == AuthType.BASIC:
        user, secret = f"{access.auth.username}:", access.secret
        yield "-u " + (
            f'{shlex.quote(user)}"{secret}"' if access.is_variable else shlex.quote(user + secret)
        )
        return
    for name, value in access.headers:
        header = f"{name}: {value}"
        yield "-H " + (f'"{header}"' if access.is_variable else shlex.quote(header))


def python(call: Call, access: Access) -> str:
    """Return the request as a Python script without dependencies."""
    arguments = [json.dumps(access.address + call.target)]
    if call.method != "GET":
        arguments.append(f'method="{call.method}"')
    if headers := _all_headers(call, access):
        arguments.append(f"headers={json.dumps(dict(headers))}")
    if call.body:
        arguments.append(f"data=json.dumps({json.loads(call.body)!r}).encode()")
    shown = (
        "print(json.dumps(json.load(response), indent=2))"
        if call.returns_json
        else "print(response.read().decode())"
    )
    imports = ["import json"] if call.returns_json or call.body else []
    return "\n".join(
        [
            *imports,
            "from urllib.request import Request, urlopen",
            "",
            "request = Request(",
            *(f"    {argument}," for argument in arguments),
            ")",
            "with urlopen(request, timeout=10) as response:",
            f"    {shown}",
        ]
    )


def javascript(call: Call, access: Access) -> str:
    """Return the request as JavaScript for Node.js and browsers."""
    options = []
    if call.method != "GET":
        options.append(f'method: "{call.method}"')
    if headers := _all_headers(call, access):
        pairs = (f"{_property(name)}: {json.dumps(value)}" for name, value in headers)
        options.append(f"headers: {{ {', '.join(pairs)} }}")
    if call.body:
        options.append(f"body: JSON.stringify({call.body})")
    url = json.dumps(access.address + call.target)
    first = [f"fetch({url}, {{", *(f"  {option}," for option in options), "})"]
    return "\n".join(
        [
            *(first if options else [f"fetch({url})"]),
            f"  .then((response) => response.{'json' if call.returns_json else 'text'}())",
            "  .then((data) => console.log(data));",
        ]
    )


def _all_headers(call: Call, access: Access) -> list[tuple[str, str]]:
    return [*access.headers, *call.headers, *([JSON] if call.body else [])]


def _property(name: str) -> str:
    return name if IDENTIFIER.fullmatch(name) else json.dumps(name)


def body_text(body: Any) -> str:
    """Return the JSON body of a first call; empty if it has none."""
    return "" if body is None else json.dumps(body, ensure_ascii=False)
