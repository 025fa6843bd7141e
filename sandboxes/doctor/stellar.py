"""Friendbot, which funds the Stellar accounts of sandboxes."""

from __future__ import annotations

from http import HTTPStatus

from django.conf import settings

from sandboxes import blueprints
from sandboxes.doctor.findings import Findings, ok, warning
from sandboxes.lib.http import client as http_client
from sandboxes.stellar.friendbot import MAX_RESPONSE_BYTES

TIMEOUT_SECONDS = 5.0


def faucet() -> Findings:
    """Check that Friendbot responds; a request without an account is a bad request.

    Not checked if no blueprint asks for accounts.
    """
    if not any(blueprint.stellar for blueprint in blueprints.available().values()):
        return
    try:
        response = http_client.send(
            "GET",
            settings.FRIENDBOT_URL,
            limits=http_client.Limits(TIMEOUT_SECONDS, MAX_RESPONSE_BYTES),
            use_proxies=True,
        )
    except (http_client.RequestFailed, OSError, ValueError) as exc:
        yield warning(
            f"Friendbot, {settings.FRIENDBOT_URL}, can't be reached ({type(exc).__name__}).",
            "Allow the worker to reach it. Sandboxes run, but their accounts aren't funded.",
        )
        return
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        words = f"Friendbot returned {response.status}."
        yield warning(words, "Accounts aren't funded until Friendbot works again.")
        return
    yield ok("Friendbot responds.")
