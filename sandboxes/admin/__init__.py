"""What operators work with. Nothing here writes a state: its actions ask `sandboxes.actions`."""

from django.contrib import admin

from sandboxes.admin.access import ApiTokenAdmin, LimitOverrideAdmin
from sandboxes.admin.people import AuthenticatorAdmin, UserAdmin
from sandboxes.admin.pools import PoolAdmin
from sandboxes.admin.sandboxes import EventAdmin, SandboxAdmin
from sandboxes.admin.site import SiteAdmin

__all__ = [
    "ApiTokenAdmin",
    "AuthenticatorAdmin",
    "EventAdmin",
    "LimitOverrideAdmin",
    "PoolAdmin",
    "SandboxAdmin",
    "SiteAdmin",
    "UserAdmin",
]

admin.site.site_header = "Sandbox portal"
admin.site.site_title = "Sandbox portal"
admin.site.index_title = "Operations"
