"""What the portal remembers. The database is the truth about intent.

`sandboxes.core.lifecycle` alone writes `Sandbox.state`.
"""

from sandboxes.models.api_token import ApiToken, IdempotencyKey, Scope
from sandboxes.models.audit_entry import AppendOnly, AuditEntry
from sandboxes.models.enums import (
    ACTIVE,
    ENDED,
    FAILURES,
    LIVE,
    STANDING,
    EndReason,
    Funding,
    State,
)
from sandboxes.models.event import Event, Extension, UsageSample
from sandboxes.models.invitation import Invitation
from sandboxes.models.outcome_count import Tally
from sandboxes.models.pool import Pool
from sandboxes.models.preferences import Clock, Preferences, SandboxWarning
from sandboxes.models.sandbox import Sandbox
from sandboxes.models.site import ENGINE_AWAY, LimitOverride, Site, SiteSettings
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
