"""Signing up and in through the portal's forms and the fake sign-in providers."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client
from django.urls import reverse

from tests.conftest import PASSWORD

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
KEY = "JBSWY3DPEHPK3PXP"
"""The secret of an authenticator app."""
PROVIDER_LOGINS = ["/accounts/oidc/oidc/login/", "/accounts/github/login/"]


def sign_in(user, browser: str = FIREFOX) -> Client:
    """Return a client that has signed in with the form."""
    client = Client(HTTP_USER_AGENT=browser)
    client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    return client


def sign_up(client: Client, email: str) -> str:
    """Sign up with this address and return the page."""
    data = {"email": email, "password1": PASSWORD}
    return client.post(reverse("account_signup"), data, follow=True).content.decode()


def sign_in_with_provider(client: Client, path: str) -> Any:
    """Follow the redirects of a provider sign-in as a browser does, and return the last page."""
    import httpx2

    page = client.post(path).content.decode()
    away = re.search(r'url=([^"]+)"', page)
    assert away, page
    answer = httpx2.get(away[1].replace("&amp;", "&"))
    back = answer.headers["Location"]
    return client.get(back.replace("http://testserver", ""), follow=True)
