"""System checks that find misconfiguration at startup."""

from django.core import checks
from django.core.checks.registry import CheckRegistry

from sandboxes.checks.accounts import check_accounts
from sandboxes.checks.gateway import check_gateway, check_gateway_dns, check_owner_only
from sandboxes.checks.limits import MINIMUMS, limit_problems
from sandboxes.checks.runtime import (
    ENGINE,
    check_blueprints,
    check_engine,
    check_isolation,
    check_keys,
    check_limits,
    check_renamed_variables,
    check_runtime,
)

__all__ = ["MINIMUMS", "limit_problems", "register"]


def register(registry: CheckRegistry = checks.registry.registry) -> None:
    """Register all checks; called once, when the app is ready."""
    known = (check_blueprints, check_keys, check_limits, check_runtime, check_isolation)
    for check in (*known, check_renamed_variables, check_accounts, check_gateway, check_owner_only):
        registry.register(check, "sandboxes")
    registry.register(check_engine, ENGINE, deploy=True)
    registry.register(check_gateway_dns, "sandboxes", deploy=True)
