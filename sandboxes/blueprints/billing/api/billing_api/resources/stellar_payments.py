"""Payments of invoices on Stellar's network, which the portal looks for and reports.

The sandbox reaches no network. An invoice is paid by a transfer of the right amount in XLM with the
right memo to the account of the sandbox, in time; the payment says what is wrong with others.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from ..database import Cursor
from ..web import Call, Operation, conflict
from .crud import read_operations
from .models import (
    INVOICES,
    PAYMENTS,
    InvoiceId,
    ObjectId,
    Text,
    Timestamp,
)
from .payments import PAYABLE, record_payment, settle
from .table import MomentFilter, PageQuery, Table

Status = Literal["waiting", "paid", "late"]
Outcome = Literal["paid", "unknown_memo", "wrong_asset", "wrong_amount", "late", "not_payable"]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="Hash of a transaction")]
Minutes = Annotated[int, Meta(ge=1, le=1440)]
Word = Annotated[str, Meta(pattern=r"^[!-~]{1,100}\Z")]
XlmAmount = Annotated[Decimal, Meta(description="XLM as a decimal string", examples=["49.0000000"])]
AmountOfTransfer = Annotated[
    str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,7})?\Z", examples=["49.0000000"])
]
NATIVE = "native"
NOT_FOUND = "The network has no transaction with this hash."
PROBLEMS: dict[Outcome, str] = {
    "wrong_asset": "A payment came in {asset}; only XLM is accepted.",
    "wrong_amount": "A payment had the wrong amount: {amount} XLM.",
    "late": "A payment came too late.",
    "not_payable": "A payment came, but the invoice can't be paid any more.",
}
EXPIRE = """
    UPDATE stellar_payments SET status = 'late', problem = 'No payment came in time.'
    WHERE status = 'waiting' AND expires_at < now() - interval '1 hour'
"""
"""The portal looks for an hour longer, so that a late payment is reported."""


class StellarPayment(Struct):
    """A payment of an invoice on Stellar's network: where to send which amount with which memo.

    `problem` says what was wrong with a transfer, or why the portal can't look for it.
    """

    id: str
    payment_id: str
    invoice_id: str
    status: Status
    address: str
    memo: str
    asset: str
    amount: XlmAmount
    transaction_hash: str | None
    problem: str
    expires_at: Timestamp
    created_at: Timestamp
    updated_at: Timestamp


class StellarTransfer(Struct):
    """A transfer to the account of the sandbox that the portal found, and what it meant."""

    id: str
    operation_id: str
    transaction_hash: str
    source: str
    asset: str
    amount: XlmAmount
    memo: str
    outcome: Outcome
    stellar_payment_id: str | None
    transferred_at: Timestamp
    created_at: Timestamp


class NewStellarPayment(Struct, forbid_unknown_fields=True):
    """The open invoice to pay. After `expires_in_minutes` of real time, a transfer is late."""

    invoice_id: InvoiceId
    expires_in_minutes: Minutes = 60


class Lookup(Struct, forbid_unknown_fields=True):
    """The transaction for the portal to look up."""

    transaction_hash: Hash


class FoundTransfer(Struct):
    """A transfer as the portal found it; `asset` is `native` or `CODE:ISSUER`."""

    operation_id: Word
    hash: Hash
    source: Word
    destination: Word
    asset: Word
    amount: AmountOfTransfer
    at: Timestamp
    memo: Text = ""


class Report(Struct):
    """What the portal found: transfers, hashes that don't exist, and why it can't look."""

    transfers: Annotated[list[FoundTransfer], Meta(max_length=500)] = []
    missing: Annotated[list[Hash], Meta(max_length=100)] = []
    problem: Text = ""


class Reported(Struct):
    """How many transfers are new."""

    recorded: int


class StellarPaymentQuery(PageQuery, kw_only=True):
    """Filters of the list of Stellar payments."""

    status: Status | UnsetType = UNSET
    invoice_id: InvoiceId | UnsetType = UNSET


class StellarTransferQuery(PageQuery, kw_only=True):
    """Filters of the list of transfers."""

    outcome: Outcome | UnsetType = UNSET
    stellar_payment_id: ObjectId | UnsetType = UNSET
    created_after: MomentFilter | UnsetType = UNSET
    created_before: MomentFilter | UnsetType = UNSET


STELLAR_PAYMENTS = Table("stellar_payments", "stellar payment", StellarPayment)
STELLAR_TRANSFERS = Table("stellar_transfers", "stellar transfer", StellarTransfer)


def create(call: Call) -> StellarPayment:
    """Start paying an invoice on Stellar's network; return the address, memo and amount."""
    body: NewStellarPayment = call.body
    if not call.stellar_address:
        raise conflict("This sandbox has no Stellar account.")
    INVOICES.get_referenced(call.cursor, "invoice_id", body.invoice_id)
    invoice = INVOICES.get(call.cursor, body.invoice_id, lock=True)
    if invoice.status not in PAYABLE:
        raise conflict(f"Invoice {invoice.id!r} is {invoice.status}; it can't be paid.")
    payment = record_payment(call.cursor, invoice, "stellar", "pending")
    return STELLAR_PAYMENTS.insert(
        call.cursor,
        payment_id=payment.id,
        invoice_id=invoice.id,
        address=call.stellar_address,
        memo=payment.id[-24:],
        amount=invoice.amount,
        expires_at=_in_minutes(call.cursor, body.expires_in_minutes),
    )


def look_up(call: Call) -> StellarPayment:
    """Request that the portal look up a transaction by its hash, which takes some seconds."""
    payment = STELLAR_PAYMENTS.get(call.cursor, call.id, lock=True)
    if payment.status == "paid":
        raise conflict(f"Stellar payment {call.id!r} is paid.")
    return STELLAR_PAYMENTS.update(
        call.cursor, call.id, transaction_hash=call.body.transaction_hash, problem=""
    )


def report(call: Call) -> Reported:
    """Record what the portal found. A transfer that is already known changes nothing."""
    body: Report = call.body
    recorded = sum(_record(call, one) for one in body.transfers)
    for one in body.missing:
        _note(call.cursor, NOT_FOUND, "transaction_hash = %s AND problem = ''", one)
    if body.problem:
        _note(call.cursor, body.problem, "problem <> %s", body.problem)
    call.cursor.execute(EXPIRE)
    return Reported(recorded)


def _record(call: Call, transfer: FoundTransfer) -> bool:
    cursor = call.cursor
    cursor.execute(
        "SELECT 1 FROM stellar_transfers WHERE operation_id = %s", (transfer.operation_id,)
    )
    if cursor.fetchone() or transfer.destination != call.stellar_address:
        return False
    payment = _of_memo(cursor, transfer.memo)
    outcome = _outcome(cursor, transfer, payment)
    STELLAR_TRANSFERS.insert(
        cursor,
        operation_id=transfer.operation_id,
        transaction_hash=transfer.hash,
        source=transfer.source,
        asset=transfer.asset,
        amount=Decimal(transfer.amount),
        memo=transfer.memo,
        outcome=outcome,
        stellar_payment_id=payment.id if payment else None,
        transferred_at=transfer.at,
    )
    if payment is None:
        text = (
            f"The transaction has the memo {transfer.memo!r}, which isn't the one of this payment."
        )
        _note(cursor, text[:500], "transaction_hash = %s", transfer.hash)
    elif payment.status == "waiting":
        _apply(cursor, payment, transfer, outcome)
    return True


def _of_memo(cursor: Cursor, memo: str) -> StellarPayment | None:
    cursor.execute("SELECT id FROM stellar_payments WHERE memo = %s FOR UPDATE", (memo,))
    row = cursor.fetchone()
    return STELLAR_PAYMENTS.get(cursor, row[0]) if row else None


def _outcome(cursor: Cursor, transfer: FoundTransfer, payment: StellarPayment | None) -> Outcome:
    if payment is None:
        return "unknown_memo"
    if transfer.asset != NATIVE:
        return "wrong_asset"
    if Decimal(transfer.amount) != payment.amount:
        return "wrong_amount"
    if transfer.at > payment.expires_at:
        return "late"
    invoice = INVOICES.get(cursor, payment.invoice_id, lock=True)
    pending = PAYMENTS.get(cursor, payment.payment_id, lock=True).status == "pending"
    return "paid" if pending and invoice.status in PAYABLE else "not_payable"


def _apply(
    cursor: Cursor, payment: StellarPayment, transfer: FoundTransfer, outcome: Outcome
) -> None:
    if outcome == "paid":
        settle(cursor, payment.payment_id, "succeeded")
        values = {"status": "paid", "problem": "", "transaction_hash": transfer.hash}
        STELLAR_PAYMENTS.update(cursor, payment.id, **values)
        return
    problem = PROBLEMS[outcome].format(asset=transfer.asset, amount=transfer.amount)
    STELLAR_PAYMENTS.update(cursor, payment.id, problem=problem)
    if outcome == "late":
        STELLAR_PAYMENTS.update(cursor, payment.id, status="late")


def _note(cursor: Cursor, problem: str, condition: str, value: str) -> None:
    """Store the problem of the waiting payments that meet a condition."""
    cursor.execute(
        f"UPDATE stellar_payments SET problem = %s WHERE status = 'waiting' AND {condition}",  # noqa: S608
        (problem, value),
    )


def _in_minutes(cursor: Cursor, minutes: int) -> datetime:
    cursor.execute("SELECT now() + %s * interval '1 minute'", (minutes,))
    (at,) = cursor.fetchone() or ()
    found: datetime = at
    return found


PATH = "/v1/stellar_payments"
OPERATIONS = [
    *read_operations(STELLAR_PAYMENTS, StellarPaymentQuery),
    Operation(
        "createStellarPayment",
        "POST",
        PATH,
        "Pay an invoice on Stellar's network",
        create,
        StellarPayment,
        NewStellarPayment,
        status=201,
    ),
    Operation(
        "lookUpStellarPayment",
        "POST",
        f"{PATH}/{{id}}/look-up",
        "Look up a transaction",
        look_up,
        StellarPayment,
        Lookup,
    ),
    *read_operations(STELLAR_TRANSFERS, StellarTransferQuery),
    Operation(
        "reportStellarTransfers",
        "POST",
        "/v1/stellar_transfers",
        "Report transfers",
        report,
        Reported,
        Report,
    ),
]
