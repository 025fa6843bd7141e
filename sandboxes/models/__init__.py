"""Models. The database is the source of truth for what should exist.

Only `sandboxes.core.lifecycle` writes `Sandbox.state`.
"""

from sandboxes.models.api_token import ApiToken, Scope
from sandboxes.models.audit_entry import AuditEntry, AuditIsAppendOnly
from sandboxes.models.enums import (
    COUNTED_STATES,
    FAILURE_REASONS,
    NON_TERMINAL,
    NOT_ENDING,
    TERMINAL_STATES,
    DeadlineKind,
    EndReason,
    EventKind,
    Funding,
    State,
)
from sandboxes.models.event import Event
from sandboxes.models.extension import Extension
from sandboxes.models.idempotency_key import IdempotencyKey
from sandboxes.models.invitation import Invitation
from sandboxes.models.limit_override import LimitOverride
from sandboxes.models.outcome_count import OutcomeCount
from sandboxes.models.pool import Pool
from sandboxes.models.preferences import Preferences
from sandboxes.models.sandbox import Sandbox
from sandboxes.models.sandbox_warning import SandboxWarning
from sandboxes.models.site import ENGINE_AWAY, Site, SiteSettings
from sandboxes.models.usage_sample import UsageSample
from sandboxes.models.webhook import (
    DeliveryStatus,
    DisabledReason,
    EventType,
    Webhook,
    WebhookDelivery,
)

__all__ = [
    "COUNTED_STATES",
    "ENGINE_AWAY",
    "FAILURE_REASONS",
    "NON_TERMINAL",
    "NOT_ENDING",
    "TERMINAL_STATES",
    "ApiToken",
    "AuditEntry",
    "AuditIsAppendOnly",
    "DeadlineKind",
    "DeliveryStatus",
    "DisabledReason",
    "EndReason",
    "Event",
    "EventKind",
    "EventType",
    "Extension",
    "Funding",
    "IdempotencyKey",
    "Invitation",
    "LimitOverride",
    "OutcomeCount",
    "Pool",
    "Preferences",
    "Sandbox",
    "SandboxWarning",
    "Scope",
    "Site",
    "SiteSettings",
    "State",
    "UsageSample",
    "Webhook",
    "WebhookDelivery",
]
