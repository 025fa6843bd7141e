"""Save points: save sandboxes, restore them, list, rename and delete what was saved."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import reverse
from ninja import HeaderEx, P, QueryEx
from ninja.responses import Status

from sandboxes import actions
from sandboxes.actions import save_points
from sandboxes.api import request_schemas
from sandboxes.api.auth import LAUNCH, READ, ApiRequest
from sandboxes.api.lookups import get_owned_sandbox, get_owned_save_point
from sandboxes.api.openapi import responses
from sandboxes.api.pagination import Cursor, Limit, set_next_link
from sandboxes.api.routing import StrictRouter
from sandboxes.lib.pagination import paginate_newest_first
from sandboxes.models import SavePoint
from sandboxes.models.save_point import SavePointQuerySet
from sandboxes.representations import schemas, serializers

router = StrictRouter(tags=["Save points"])

IdempotencyKey = HeaderEx[
    str,
    P(
        alias="Idempotency-Key",
        max_length=actions.MAX_IDEMPOTENCY_KEY_LENGTH,
        description="Repeating a request with the same key returns the same save point.",
    ),
]
StartingPoints = QueryEx[bool, P(description="List starting points that anyone may launch from.")]


@router.post(
    "/sandboxes/{sandbox_id}/save-points",
    auth=LAUNCH,
    response=responses(201, schemas.SavePoint, 400, 404, 409, 413, 422),
)
def save_sandbox(
    request: ApiRequest,
    response: HttpResponse,
    sandbox_id: str,
    body: request_schemas.Save,
    idempotency_key: IdempotencyKey = "",
) -> Status[schemas.SavePoint]:
    """Save the data of a running sandbox. Complete when `state` is no longer `saving`."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    row, is_new = save_points.create(sandbox, body.name, request.auth, idempotency_key)
    if not is_new:
        response["Idempotent-Replayed"] = "true"
    path = reverse("api:get_save_point", args=[row.public_id])
    response["Location"] = request.build_absolute_uri(path)
    row.refresh_from_db()
    return Status(201, serializers.save_point(row))


@router.get(
    "/sandboxes/{sandbox_id}/save-points",
    auth=READ,
    response=responses(200, schemas.SavePointPage, 404, 422),
)
def list_save_points_of_sandbox(
    request: ApiRequest,
    response: HttpResponse,
    sandbox_id: str,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> schemas.SavePointPage:
    """List the save points of a sandbox, newest first."""
    sandbox = get_owned_sandbox(request, sandbox_id)
    rows = request.auth.save_points.listed().filter(sandbox=sandbox)
    return _page(request, response, rows, limit, cursor)


@router.get("/save-points", auth=READ, response=responses(200, schemas.SavePointPage, 422))
def list_save_points(
    request: ApiRequest,
    response: HttpResponse,
    limit: Limit = 50,
    cursor: Cursor = "",
    starting_points: StartingPoints = False,
) -> schemas.SavePointPage:
    """List your save points, newest first."""
    rows = request.auth.save_points.listed()
    if starting_points:
        rows = SavePoint.objects.ready().filter(is_starting_point=True)
    return _page(request, response, rows, limit, cursor)


@router.get(
    "/save-points/{save_point_id}", auth=READ, response=responses(200, schemas.SavePoint, 404)
)
def get_save_point(request: ApiRequest, save_point_id: str) -> schemas.SavePoint:
    """Return a save point."""
    return serializers.save_point(get_owned_save_point(request, save_point_id))


@router.patch(
    "/save-points/{save_point_id}",
    auth=LAUNCH,
    response=responses(200, schemas.SavePoint, 400, 404, 413, 422),
)
def rename_save_point(
    request: ApiRequest, save_point_id: str, body: request_schemas.SavePointChanges
) -> schemas.SavePoint:
    """Change the name of a save point."""
    row = get_owned_save_point(request, save_point_id)
    save_points.rename(row, body.name)
    return serializers.save_point(row)


@router.delete(
    "/save-points/{save_point_id}",
    auth=LAUNCH,
    response=responses(200, schemas.SavePoint, 404, 409),
)
def delete_save_point(request: ApiRequest, save_point_id: str) -> schemas.SavePoint:
    """Delete a save point and its data."""
    row = get_owned_save_point(request, save_point_id)
    save_points.delete(row)
    return serializers.save_point(row)


@router.post(
    "/save-points/{save_point_id}/restore",
    auth=LAUNCH,
    response=responses(202, schemas.Sandbox, 404, 409),
)
def restore_save_point(request: ApiRequest, save_point_id: str) -> Status[schemas.Sandbox]:
    """Return the sandbox to the data of its save point; addresses and credentials stay.

    Complete when the sandbox's `reset_pending` is false again.
    """
    row = get_owned_save_point(request, save_point_id)
    return Status(202, serializers.sandbox(save_points.restore(row, request.auth)))


def _page(
    request: ApiRequest, response: HttpResponse, rows: SavePointQuerySet, limit: int, cursor: str
) -> schemas.SavePointPage:
    found = rows.select_related("sandbox")
    page, following = paginate_newest_first(found, "created_at", limit, cursor, "save points")
    set_next_link(request, response, following)
    return schemas.SavePointPage(
        data=[serializers.save_point(row) for row in page],
        has_more=following is not None,
        next_cursor=following,
    )
