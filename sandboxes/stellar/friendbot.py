"""Client of Friendbot, which funds Stellar test accounts.

https://developers.stellar.org/docs/learn/fundamentals/networks#friendbot
"""

from __future__ import annotations

import re
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import urlencode

from django.conf import settings

from sandboxes.lib.http import client as http_client
from sandboxes.lib.http.retry_after import parse_retry_after

TIMEOUT_SECONDS = 15.0
MAX_RESPONSE_BYTES = 64 * 1024
MAX_RETRY_AFTER = timedelta(hours=1)
"""Upper limit for Friendbot's `Retry-After`."""
ALREADY_FUNDED = ("already funded", "createaccountalreadyexist", "op_already_exists")
RESULT_CODE = re.compile(r"(?<![a-z])(?:tx|op)_[a-z_]+\b")
"""Result codes of a transaction that the network rejected:
https://developers.stellar.org/docs/data/apis/horizon/api-reference/errors/result-codes"""
WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Where a word starts in `txBAD_SEQ` and `TxBadSeq`, as Stellar's servers also write the codes."""
CODES_OF_ONE_ATTEMPT = {"tx_bad_seq", "tx_bad_minseq_age_or_gap", "tx_too_early", "tx_too_late"}
"""Friendbot sent two transactions at once, or one too late; the next attempt may succeed."""
CODES_OF_FRIENDBOT = {
    "tx_bad_auth",
    "tx_bad_auth_extra",
    "tx_insufficient_balance",
    "tx_insufficient_fee",
    "tx_internal_error",
    "tx_no_account",
    "tx_no_source_account",
    "op_low_reserve",
    "op_no_source_account",
    "op_underfunded",
}
"""Fees are high, or Friendbot's own account needs its operator; no account can be funded now."""
TRANSIENT_WORDS = ("timeout", "timed out", "too many requests", "rate limit", "try again")


class FundingRejected(Exception):
    """Friendbot rejected the account; a retry doesn't help."""


class FundingRetryable(Exception):
    """Friendbot failed temporarily; a retry may succeed.

    `affects_all` is false if the next account may be funded nevertheless.
    """

    def __init__(
        self, message: str, retry_after: timedelta = timedelta(), *, affects_all: bool = True
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.affects_all = affects_all


def request_funds(public_key: str) -> None:
    """Create and fund the account by Friendbot. Raises FundingRejected or FundingRetryable."""
    separator = "&" if "?" in settings.FRIENDBOT_URL else "?"
    url = f"{settings.FRIENDBOT_URL}{separator}{urlencode({'addr': public_key})}"
    try:
        response = http_client.send(
            "GET",
            url,
            limits=http_client.Limits(TIMEOUT_SECONDS, MAX_RESPONSE_BYTES, keep_partial=True),
            use_proxies=True,
        )
    except (http_client.RequestFailed, OSError, ValueError) as error:
        raise FundingRetryable(f"Friendbot can't be reached ({type(error).__name__})") from error
    if HTTPStatus(200) <= response.status < HTTPStatus(300):
        return
    text = response.text.lower()
    if any(words in text for words in ALREADY_FUNDED):
        return
    retry_after = parse_retry_after(response.header("retry-after"), MAX_RETRY_AFTER)
    if response.status != HTTPStatus.BAD_REQUEST:
        raise FundingRetryable(f"Friendbot returned {response.status}", retry_after)
    raise _error_of_bad_request(WORD_START.sub("_", response.text).lower(), retry_after)


def _error_of_bad_request(text: str, retry_after: timedelta) -> Exception:
    """Interpret a 400: Friendbot sends it both for a bad address and for a failed transaction.

    Without a result code that can heal, the request itself was bad, and so is each repetition.
    """
    codes = set(RESULT_CODE.findall(text))
    if found := codes & CODES_OF_FRIENDBOT:
        return FundingRetryable(f"Friendbot returned 400 ({min(found)})", retry_after)
    if found := codes & CODES_OF_ONE_ATTEMPT or {word for word in TRANSIENT_WORDS if word in text}:
        return FundingRetryable(
            f"Friendbot returned 400 ({min(found)})", retry_after, affects_all=False
        )
    return FundingRejected("Friendbot rejected the account (400)")
