"""Payment methods of subscribers: attach, change and detach."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from ..database import Cursor
from ..web import Call, Operation, conflict
from .crud import read_operations
from .models import (
    PAYMENT_METHODS,
    SUBSCRIBERS,
    MetadataChanges,
    MetadataFilter,
    MetadataInput,
    PaymentMethod,
    SubscriberId,
    SubscriberPaymentMethod,
    TestValue,
)
from .table import PageQuery, provided_fields


class NewPaymentMethod(Struct, forbid_unknown_fields=True):
    """A payment method to attach to a subscriber.

    ``test_value`` decides what becomes of payments: ``succeeds``; the reason for which they are
    declined; ``requires_authentication``, within a day; ``succeeds_after_…``, counted for each
    invoice; ``settles_later`` and ``fails_later``, after three days.
    """

    subscriber_id: SubscriberId
    type: PaymentMethod = "card"
    test_value: TestValue = "succeeds"
    is_default: bool = True
    metadata: MetadataInput = {}


class PaymentMethodChanges(Struct, forbid_unknown_fields=True):
    """Changes to a payment method. The default method pays invoices of subscriptions."""

    is_default: bool | UnsetType = UNSET
    metadata: MetadataChanges | UnsetType = UNSET


class PaymentMethodQuery(PageQuery, kw_only=True):
    """Filters of the list of payment methods."""

    subscriber_id: SubscriberId | UnsetType = UNSET
    type: PaymentMethod | UnsetType = UNSET
    test_value: TestValue | UnsetType = UNSET
    is_default: bool | UnsetType = UNSET
    metadata: MetadataFilter | UnsetType = UNSET


def create(call: Call) -> SubscriberPaymentMethod:
    """Attach a payment method to a subscriber, as the default unless you say otherwise."""
    body: NewPaymentMethod = call.body
    SUBSCRIBERS.get_referenced(call.cursor, "subscriber_id", body.subscriber_id)
    if body.is_default:
        _clear_default(call.cursor, body.subscriber_id)
    return PAYMENT_METHODS.insert(call.cursor, **provided_fields(body))


def update(call: Call) -> SubscriberPaymentMethod:
    """Change whether the method is the default, or its metadata."""
    method = PAYMENT_METHODS.get(call.cursor, call.id)
    changes = provided_fields(call.body)
    if changes.get("is_default"):
        if method.detached_at:
            raise conflict(f"Payment method {call.id!r} is detached; attach a new one.")
        _clear_default(call.cursor, method.subscriber_id, keep=call.id)
    return PAYMENT_METHODS.update(call.cursor, call.id, **changes)


def detach(call: Call) -> SubscriberPaymentMethod:
    """Detach the method, so that it can't be used any more. Its payments stay."""
    if PAYMENT_METHODS.get(call.cursor, call.id, lock=True).detached_at:
        raise conflict(f"Payment method {call.id!r} is already detached.")
    call.cursor.execute(
        "UPDATE payment_methods SET detached_at = billing.now(), is_default = false WHERE id = %s",
        (call.id,),
    )
    return PAYMENT_METHODS.get(call.cursor, call.id)


def _clear_default(cursor: Cursor, subscriber_id: str, keep: str = "") -> None:
    """Make no other method of the subscriber the default; the lock excludes a second request."""
    cursor.execute("SELECT FROM subscribers WHERE id = %s FOR NO KEY UPDATE", (subscriber_id,))
    cursor.execute(
        "UPDATE payment_methods SET is_default = false"
        " WHERE subscriber_id = %s AND is_default AND id <> %s",
        (subscriber_id, keep),
    )


PATH = "/v1/payment_methods"
ONE = f"{PATH}/{{id}}"
OPERATIONS = [
    *read_operations(PAYMENT_METHODS, PaymentMethodQuery),
    Operation(
        "createPaymentMethod",
        "POST",
        PATH,
        "Attach a payment method",
        create,
        SubscriberPaymentMethod,
        NewPaymentMethod,
        status=201,
    ),
    Operation(
        "updatePaymentMethod",
        "PATCH",
        ONE,
        "Change a payment method",
        update,
        SubscriberPaymentMethod,
        PaymentMethodChanges,
    ),
    Operation(
        "detachPaymentMethod",
        "POST",
        f"{ONE}/detach",
        "Detach a payment method",
        detach,
        SubscriberPaymentMethod,
    ),
]
