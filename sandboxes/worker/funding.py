"""A Stellar account for each sandbox: a key pair, funded by friendbot.

Friendbot: https://developers.stellar.org/docs/learn/fundamentals/networks#friendbot
"""

from __future__ import annotations

from base64 import b32encode
from binascii import crc_hqx
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from time import monotonic

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import transaction
from django.db.models import F

from sandboxes.core.lifecycle import journal
from sandboxes.lib import clock
from sandboxes.models import STANDING, Funding, Sandbox

log = structlog.get_logger(__name__)

PUBLIC_KEY, SECRET_SEED = 6 << 3, 18 << 3  # SEP-23: "G…" and "S…"
TIMEOUT_SECONDS = 15.0
LONGEST_ANSWER = 64 * 1024
MAX_ATTEMPTS = 10
FIRST_DELAY = timedelta(seconds=5)
LONGEST_DELAY = timedelta(minutes=15)
LONGEST_WISH_SECONDS = 3600.0
"""A friendbot that asks for more patience than this is asked again all the same."""
ALREADY_FUNDED = ("already funded", "createaccountalreadyexist", "op_already_exists")


class Refused(Exception):
    """Friendbot's answer is final; asking again would not help."""


class TryAgain(Exception):
    """No account yet, but a later try may succeed."""

    def __init__(self, message: str, after: timedelta = timedelta()) -> None:
        super().__init__(message)
        self.after = after


def _str_key(version: int, raw: bytes) -> str:
    """SEP-23 StrKey: base32 of a version byte, the key and a CRC16-XModem of both."""
    payload = bytes([version]) + raw
    return b32encode(payload + crc_hqx(payload, 0).to_bytes(2, "little")).decode()


def new_key_pair() -> tuple[str, str]:
    """A public key (`G…`) and its secret (`S…`)."""
    pair = Ed25519PrivateKey.generate()
    public_key = _str_key(PUBLIC_KEY, pair.public_key().public_bytes_raw())
    return public_key, _str_key(SECRET_SEED, pair.private_bytes_raw())


def ask_friendbot(public_key: str) -> None:
    """Have the account created and funded. Raises Refused or TryAgain."""
    try:
        answer, text = _get(public_key)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TryAgain(f"Friendbot can't be reached ({type(error).__name__})") from error
    if answer.is_success:
        return
    if answer.status_code == HTTPStatus.BAD_REQUEST:
        if any(sign in text.lower() for sign in ALREADY_FUNDED):
            return
        raise Refused("Friendbot refused the account (400)")
    raise TryAgain(f"Friendbot answered {answer.status_code}", _retry_after(answer))


@cache
def _client() -> httpx.Client:
    """One for each process: to read the certificates for each request would slow launches down."""
    return httpx.Client()


def _get(public_key: str) -> tuple[httpx.Response, str]:
    """The answer and the beginning of its text, in bounded time: httpx bounds only each read."""
    ends_at, body = monotonic() + TIMEOUT_SECONDS, b""
    wish = {"addr": public_key}
    with _client().stream(
        "GET", settings.FRIENDBOT_URL, params=wish, timeout=TIMEOUT_SECONDS
    ) as answer:
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > LONGEST_ANSWER or monotonic() > ends_at:
                break
    return answer, body.decode(errors="replace")


def _retry_after(answer: httpx.Response) -> timedelta:
    value = answer.headers.get("Retry-After", "")
    seconds = float(value) if value.isdecimal() else 0.0
    return timedelta(seconds=min(seconds, LONGEST_WISH_SECONDS))


def _delay(attempts: int) -> timedelta:
    return min(FIRST_DELAY * (1 << min(attempts - 1, 12)), LONGEST_DELAY)


def _claim(sandbox: Sandbox, now: datetime) -> bool:
    """One worker asks at a time; should it die, the next try is due when its time limit is over."""
    return (
        Sandbox.objects.filter(
            pk=sandbox.pk,
            state__in=STANDING,
            funding=Funding.PENDING,
            funding_due_at__lte=now,
        ).update(
            funding_due_at=now + timedelta(seconds=2 * TIMEOUT_SECONDS),
            funding_attempts=F("funding_attempts") + 1,
        )
        == 1
    )


def fund(sandbox: Sandbox) -> None:
    """Ask friendbot once if that is due, and record what came of it."""
    if not _claim(sandbox, clock.now()):
        return
    sandbox.refresh_from_db()
    try:
        ask_friendbot(sandbox.stellar_public_key)
    except Refused as refused:
        _record(sandbox, Funding.FAILED, str(refused))
    except TryAgain as later:
        if sandbox.funding_attempts >= MAX_ATTEMPTS:
            _record(sandbox, Funding.FAILED, f"{later}; gave up after {MAX_ATTEMPTS} tries")
        else:
            wait = max(later.after, _delay(sandbox.funding_attempts))
            _record(sandbox, Funding.PENDING, str(later), due_at=clock.now() + wait)
    else:
        _record(sandbox, Funding.FUNDED, "")


@transaction.atomic
def _record(sandbox: Sandbox, funding: Funding, error: str, due_at: datetime | None = None) -> None:
    known = sandbox.funding_error
    rows = Sandbox.objects.standing().filter(pk=sandbox.pk).exclude(funding=Funding.FUNDED)
    if funding != Funding.FUNDED:
        # A try that was overtaken by a newer one has nothing to say.
        rows = rows.filter(funding_attempts=sandbox.funding_attempts)
    changed = rows.update(funding=funding, funding_error=error[:200], funding_due_at=due_at)
    log.info("funding", sandbox=sandbox.public_id, funding=str(funding), error=error)
    # A friendbot that stays down would fill the journal with one and the same line.
    if changed and (funding != Funding.PENDING or error != known):
        journal(sandbox, f"funding_{funding}", error or "Friendbot funded the Stellar account.")
