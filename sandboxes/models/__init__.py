"""What the portal remembers. The database is the truth about intent.

`sandboxes.lifecycle` alone writes `Sandbox.state`.
"""

from sandboxes.models.access import ApiToken, IdempotencyKey, Scope
from sandboxes.models.audit import AppendOnly, AuditEntry
from sandboxes.models.invitation import Invitation
from sandboxes.models.journal import Event, Extension, UsageSample
from sandboxes.models.pool import Pool
from sandboxes.models.sandbox import Sandbox
from sandboxes.models.site import ENGINE_AWAY, LimitOverride, Site, SiteSettings
from sandboxes.models.states import (
    ACTIVE,
    ENDED,
    FAILURES,
    LIVE,
    STANDING,
    EndReason,
    Funding,
    State,
)
from sandboxes.models.tally import Tally

__all__ = [
    "ACTIVE",
    "ENDED",
    "ENGINE_AWAY",
    "FAILURES",
    "LIVE",
    "STANDING",
    "ApiToken",
    "AppendOnly",
    "AuditEntry",
    "EndReason",
    "Event",
    "Extension",
    "Funding",
    "IdempotencyKey",
    "Invitation",
    "LimitOverride",
    "Pool",
    "Sandbox",
    "Scope",
    "Site",
    "SiteSettings",
    "State",
    "Tally",
    "UsageSample",
]
