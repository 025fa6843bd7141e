"""Models. The database is the source of truth for what should exist.

Only `sandboxes.core.lifecycle` writes `Sandbox.state`.
"""

from sandboxes.models.accounts.account_mail import AccountMail
from sandboxes.models.accounts.api_token import ApiToken, Scope
from sandboxes.models.accounts.device_authorization import DeviceAuthorization
from sandboxes.models.accounts.identity_rule import IdentityRule, UsedIdentityToken
from sandboxes.models.accounts.invitation import Invitation
from sandboxes.models.accounts.limit_override import LimitOverride
from sandboxes.models.accounts.preferences import Preferences
from sandboxes.models.audit_entry import AuditEntry, AuditIsAppendOnly
from sandboxes.models.blueprint_version import BlueprintVersion
from sandboxes.models.engine import Engine, EngineState
from sandboxes.models.enums import (
    COUNTED_STATES,
    FAILURE_REASONS,
    LAUNCHING_STATES,
    NON_TERMINAL,
    NOT_ENDING,
    OPERATOR_REASONS,
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
from sandboxes.models.inbox import EventDelivery, EventEndpoint, EventFeed, SandboxEvent
from sandboxes.models.launch_lock import LaunchLock
from sandboxes.models.maintenance import Maintenance
from sandboxes.models.metadata_entry import MetadataEntry
from sandboxes.models.outcome_count import OutcomeCount, OutcomeCursor
from sandboxes.models.pool import Pool
from sandboxes.models.reserved_port import ReservedPort
from sandboxes.models.runtime_settings import RuntimeSettings
from sandboxes.models.sandbox import Sandbox
from sandboxes.models.sandbox_warning import SandboxWarning
from sandboxes.models.save_point import SavePoint, SavePointState
from sandboxes.models.status import FundingStatus, SweepStatus, WorkerStatus
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
    "FAILURE_REASONS",
    "LAUNCHING_STATES",
    "NON_TERMINAL",
    "NOT_ENDING",
    "OPERATOR_REASONS",
    "TERMINAL_STATES",
    "AccountMail",
    "ApiToken",
    "AuditEntry",
    "AuditIsAppendOnly",
    "BlueprintVersion",
    "DeadlineKind",
    "DeliveryStatus",
    "DeviceAuthorization",
    "DisabledReason",
    "EndReason",
    "Engine",
    "EngineState",
    "Event",
    "EventDelivery",
    "EventEndpoint",
    "EventFeed",
    "EventKind",
    "EventType",
    "Extension",
    "Funding",
    "FundingStatus",
    "IdempotencyKey",
    "IdentityRule",
    "Invitation",
    "LaunchLock",
    "LimitOverride",
    "Maintenance",
    "MetadataEntry",
    "OutcomeCount",
    "OutcomeCursor",
    "Pool",
    "Preferences",
    "ReservedPort",
    "RuntimeSettings",
    "Sandbox",
    "SandboxEvent",
    "SandboxWarning",
    "SavePoint",
    "SavePointState",
    "Scope",
    "State",
    "SweepStatus",
    "UsageSample",
    "UsedIdentityToken",
    "Webhook",
    "WebhookDelivery",
    "WorkerStatus",
]
