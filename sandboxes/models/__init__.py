"""What the portal remembers. The database is the truth about intent.

`sandboxes.lifecycle` alone writes `Sandbox.state`.
"""

from sandboxes.models.access import ApiToken, IdempotencyKey, Scope
from sandboxes.models.audit import AppendOnly, AuditEntry
from sandboxes.models.invitation import Invitation
from sandboxes.models.journal import Event, Extension, UsageSample
from sandboxes.models.pool import Pool
from sandboxes.models.preferences import Clock, Preferences, SandboxWarning
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
from sandboxes.models.webhook import (
    EventType,
    OffReason,
    Outcome,
    Webhook,
    WebhookDelivery,
)

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
    "Clock",
    "EndReason",
    "Event",
    "EventType",
    "Extension",
    "Funding",
    "IdempotencyKey",
    "Invitation",
    "LimitOverride",
    "OffReason",
    "Outcome",
    "Pool",
    "Preferences",
    "Sandbox",
    "SandboxWarning",
    "Scope",
    "Site",
    "SiteSettings",
    "State",
    "Tally",
    "UsageSample",
    "Webhook",
    "WebhookDelivery",
]
