"""Find sandboxes and save points of the user."""

from __future__ import annotations

import re

from django.http import Http404
from django.shortcuts import get_object_or_404

from sandboxes.api.auth import ApiRequest
from sandboxes.models import Sandbox, SavePoint

PUBLIC_ID = re.compile(r"sbx_[a-z0-9]{1,16}")
SAVE_POINT_ID = re.compile(r"sp_[a-z0-9]{1,16}")


def get_owned_sandbox(request: ApiRequest, sandbox_id: str) -> Sandbox:
    """Return the user's sandbox with this id.

    Raises Http404 if it doesn't exist or belongs to another user.
    """
    if not PUBLIC_ID.fullmatch(sandbox_id):
        raise Http404
    rows = request.auth.sandboxes.prefetch_related("extensions")
    return get_object_or_404(rows, public_id=sandbox_id)


def get_owned_save_point(request: ApiRequest, save_point_id: str) -> SavePoint:
    """Return the user's save point with this id.

    Raises Http404 if it doesn't exist, is being deleted, or belongs to another user.
    """
    if not SAVE_POINT_ID.fullmatch(save_point_id):
        raise Http404
    rows = request.auth.save_points.listed().select_related("sandbox")
    return get_object_or_404(rows, public_id=save_point_id)
