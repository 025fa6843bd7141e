"""The blueprints of this portal: their files, their versions, and the versions in force."""

from __future__ import annotations

from sandboxes.blueprints.blueprint import (
    Access,
    Addresses,
    Blueprint,
    Endpoint,
    Locate,
    addresses,
    host_label,
    substitute_address,
    url_host,
)
from sandboxes.blueprints.catalog import (
    BlueprintChanged,
    BlueprintNotFound,
    available,
    find_for_sandbox,
    for_sandbox,
    for_save_point,
    load,
    read_version,
)
from sandboxes.blueprints.folders import problems
from sandboxes.blueprints.loader import Problem

__all__ = [
    "Access",
    "Addresses",
    "Blueprint",
    "BlueprintChanged",
    "BlueprintNotFound",
    "Endpoint",
    "Locate",
    "Problem",
    "addresses",
    "available",
    "find_for_sandbox",
    "for_sandbox",
    "for_save_point",
    "host_label",
    "load",
    "problems",
    "read_version",
    "substitute_address",
    "url_host",
]
