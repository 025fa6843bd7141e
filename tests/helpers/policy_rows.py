"""Rows that the reaper's policy decides about, at a fixed time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.contrib.auth import get_user_model

from sandboxes.models import Sandbox, State

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def ago(**delta: float) -> datetime:
    return NOW - timedelta(**delta)


def ahead(**delta: float) -> datetime:
    return NOW + timedelta(**delta)


def row(**values) -> Sandbox:
    """Return a healthy sandbox, launched ten minutes ago, with these values changed."""
    known = {
        "public_id": "sbx_1",
        "owner": get_user_model()(is_active=True),
        "state": State.RUNNING,
        "created_at": ago(minutes=10),
        "started_at": ago(minutes=10),
        "last_activity_at": ago(minutes=1),
        "expires_at": ahead(minutes=50),
        "hard_cap_at": ahead(minutes=230),
        "idle_minutes": 30,
        "disk_mb": 2048,
    }
    return Sandbox(**(known | values))
