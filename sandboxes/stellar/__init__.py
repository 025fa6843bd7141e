"""Stellar accounts for the sandboxes of blueprints that ask for one, without database access."""

from sandboxes.stellar.friendbot import (
    MAX_RETRY_AFTER,
    TIMEOUT_SECONDS,
    FundingRejected,
    FundingRetryable,
    request_funds,
)
from sandboxes.stellar.horizon import (
    HorizonUnavailable,
    Transfer,
    is_enabled,
    latest_transfers,
    transfers_of,
)
from sandboxes.stellar.strkey import new_key_pair

__all__ = [
    "MAX_RETRY_AFTER",
    "TIMEOUT_SECONDS",
    "FundingRejected",
    "FundingRetryable",
    "HorizonUnavailable",
    "Transfer",
    "is_enabled",
    "latest_transfers",
    "new_key_pair",
    "request_funds",
    "transfers_of",
]
