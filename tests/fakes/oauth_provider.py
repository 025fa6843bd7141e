"""A fake sign-in provider on this machine: OpenID Connect and GitHub over real HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest

from tests.helpers.servers import start_in_thread

CLIENT, SECRET = "portal", "s3cret-of-the-client"


class Provider(ThreadingHTTPServer):
    """Signs in `person` at once, with its email address for GitHub."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.person: dict[str, Any] = {
            "sub": "248289761001",
            "email": "carol@example.com",
            "email_verified": True,
        }
        self.broken = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/keys",
        }

    def tokens(self) -> dict[str, Any]:
        now = int(time.time())
        claims = self.person | {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 60}
        signed = jwt.encode(claims, "of no matter: it comes straight from us" * 2)
        return {"access_token": "opaque", "token_type": "Bearer", "id_token": signed}

    def github_user(self) -> dict[str, Any]:
        return {"id": 583231, "login": "carol", "name": "Carol"}

    def github_emails(self) -> list[dict[str, Any]]:
        email, verified = self.person["email"], self.person["email_verified"]
        return [{"email": email, "primary": True, "verified": verified}]


class _Asked(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path in ("/authorize", "/login/oauth/authorize"):
            back = urlencode({"code": "once", "state": query["state"][0]})
            self._answer(302, None, Location=f"{query['redirect_uri'][0]}?{back}")
            return
        answers = {
            "/.well-known/openid-configuration": self.server.configuration,
            "/userinfo": lambda: self.server.person,
            "/api/v3/user": self.server.github_user,
            "/api/v3/user/emails": self.server.github_emails,
        }
        self._answer(200, answers[path]())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(500 if self.server.broken else 200, self.server.tokens())

    def _answer(self, status: int, content: Any, **headers: str) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Suppress the access log."""


@pytest.fixture
def provider(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """Configure both sign-in methods with the fake provider."""
    server = Provider()
    start_in_thread(server)
    app = {"client_id": CLIENT, "secret": SECRET}
    issuer = app | {
        "provider_id": "oidc",
        "name": "Example Inc.",
        "settings": {"server_url": server.url},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {
        "github": {"SCOPE": ["user:email"], "APPS": [app]},
        "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [issuer]},
    }
    _lead_github_to(server, monkeypatch)
    yield server
    server.shutdown()
    server.server_close()


def _lead_github_to(server: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace GitHub's URLs, which allauth reads once on import."""
    from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter

    for name, path in {
        "access_token_url": "/login/oauth/access_token",
        "authorize_url": "/login/oauth/authorize",
        "profile_url": "/api/v3/user",
        "emails_url": "/api/v3/user/emails",
    }.items():
        monkeypatch.setattr(GitHubOAuth2Adapter, name, server.url + path)
