"""The portal's Django admin. Its actions call `sandboxes.actions` and never write a state."""

from django.conf import settings
from django.contrib import admin

from sandboxes.admin.accounts.api_tokens import ApiTokenAdmin
from sandboxes.admin.accounts.identity_rules import IdentityRuleAdmin
from sandboxes.admin.accounts.invitations import InvitationAdmin
from sandboxes.admin.accounts.limit_overrides import LimitOverrideAdmin
from sandboxes.admin.accounts.users import (
    AuthenticatorAdmin,
    EmailAddressAdmin,
    GroupAdmin,
    UserAdmin,
)
from sandboxes.admin.audit import AuditAdmin
from sandboxes.admin.blueprint_versions import BlueprintVersionAdmin
from sandboxes.admin.engines import EngineAdmin
from sandboxes.admin.maintenance import MaintenanceAdmin
from sandboxes.admin.pools import PoolAdmin
from sandboxes.admin.runtime_settings import SettingsAdmin
from sandboxes.admin.sandboxes import EventAdmin, SandboxAdmin
from sandboxes.admin.save_points import SavePointAdmin
from sandboxes.admin.webhooks import WebhookAdmin, WebhookDeliveryAdmin

__all__ = [
    "ApiTokenAdmin",
    "AuditAdmin",
    "AuthenticatorAdmin",
    "BlueprintVersionAdmin",
    "EmailAddressAdmin",
    "EngineAdmin",
    "EventAdmin",
    "GroupAdmin",
    "IdentityRuleAdmin",
    "InvitationAdmin",
    "LimitOverrideAdmin",
    "MaintenanceAdmin",
    "PoolAdmin",
    "SandboxAdmin",
    "SavePointAdmin",
    "SettingsAdmin",
    "UserAdmin",
    "WebhookAdmin",
    "WebhookDeliveryAdmin",
]

admin.site.site_header = settings.PORTAL_NAME
admin.site.site_title = settings.PORTAL_NAME
admin.site.index_title = "Operations"
