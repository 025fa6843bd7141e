"""Refunds, which a payment's operation creates."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from .crud import read_operations
from .models import REFUNDS, MetadataFilter, PaymentId
from .table import MomentFilter, PageQuery


class RefundQuery(PageQuery, kw_only=True):
    """Filters of the list of refunds."""

    payment_id: PaymentId | UnsetType = UNSET
    created_after: MomentFilter | UnsetType = UNSET
    created_before: MomentFilter | UnsetType = UNSET
    metadata: MetadataFilter | UnsetType = UNSET


OPERATIONS = read_operations(REFUNDS, RefundQuery)
