"""Client of Horizon, the API of Stellar's network: payments to an account.

https://developers.stellar.org/docs/data/apis/horizon/api-reference/get-payments-by-account-id
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.conf import settings

from sandboxes.lib import untrusted_json
from sandboxes.lib.http import client as http_client

TIMEOUT_SECONDS = 10.0
MAX_RESPONSE_BYTES = 1024 * 1024
LATEST = 50
"""Payments of an account that are read, newest first."""
PAYMENT_TYPES = {"payment", "path_payment_strict_send", "path_payment_strict_receive"}
NATIVE = "native"


class HorizonUnavailable(Exception):
    """Horizon gave no usable answer; the message is a sentence for users."""


@dataclass(frozen=True)
class Transfer:
    """A payment operation of a successful transaction."""

    operation_id: str
    hash: str
    """Of the transaction."""
    source: str
    destination: str
    asset: str
    """`native`, or `CODE:ISSUER`."""
    amount: str
    """With seven decimals."""
    memo: str
    """The memo of the transaction, if it is a text."""
    at: str


def is_enabled() -> bool:
    """Return whether the portal looks at a network."""
    return bool(settings.HORIZON_URL)


def latest_transfers(account: str) -> list[Transfer]:
    """Return the latest payments to an account, oldest first. Raises HorizonUnavailable."""
    path = f"/accounts/{account}/payments?order=desc&limit={LATEST}&join=transactions"
    found = _transfers(_get(path))
    return [one for one in found if one.destination == account][::-1]


def transfers_of(transaction: str) -> list[Transfer] | None:
    """Return the payments of a transaction; None if the network has none with this hash.

    Raises HorizonUnavailable.
    """
    answer = _get(f"/transactions/{transaction}/payments?limit=100&join=transactions")
    return None if answer is None else list(_transfers(answer))


def _get(path: str) -> dict[str, Any] | None:
    """Return the object in a response; None if there is no such object."""
    try:
        response = http_client.send(
            "GET",
            settings.HORIZON_URL.rstrip("/") + path,
            limits=http_client.Limits(TIMEOUT_SECONDS, MAX_RESPONSE_BYTES),
            use_proxies=True,
        )
    except (http_client.RequestFailed, OSError, ValueError):
        raise HorizonUnavailable("The portal can't reach Stellar's network now.") from None
    if response.status == HTTPStatus.NOT_FOUND:
        return None
    if response.status != HTTPStatus.OK or not response.complete:
        raise HorizonUnavailable(f"Stellar's network returned {response.status}.")
    try:
        answer = untrusted_json.loads(response.body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise HorizonUnavailable("Stellar's network sent an invalid answer.")
    return answer


def _transfers(answer: dict[str, Any] | None) -> Iterator[Transfer]:
    embedded = (answer or {}).get("_embedded")
    records = embedded.get("records") if isinstance(embedded, dict) else None
    for record in records if isinstance(records, list) else ():
        is_payment = isinstance(record, dict) and record.get("type") in PAYMENT_TYPES
        if is_payment and record.get("transaction_successful") is not False:
            yield _transfer(record)


def _transfer(record: dict[str, Any]) -> Transfer:
    transaction = record.get("transaction")
    transaction = transaction if isinstance(transaction, dict) else {}
    has_text = transaction.get("memo_type") == "text"
    code, issuer = record.get("asset_code"), record.get("asset_issuer")
    return Transfer(
        operation_id=_text(record.get("id")),
        hash=_text(record.get("transaction_hash")),
        source=_text(record.get("from")),
        destination=_text(record.get("to")),
        asset=NATIVE if record.get("asset_type") == NATIVE else _text(f"{code}:{issuer}"),
        amount=_text(record.get("amount")),
        memo=_text(transaction.get("memo")) if has_text else "",
        at=_text(record.get("created_at")),
    )


def _text(value: Any) -> str:
    return str(value if value is not None else "").replace("\0", "")[:100]
