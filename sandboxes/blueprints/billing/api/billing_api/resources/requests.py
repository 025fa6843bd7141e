"""The requests to the API, as developers and the portal read them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from .crud import read_operations
from .models import Line, Timestamp
from .table import MomentFilter, PageQuery, Table

PATH = "/v1/requests"

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Status = Annotated[
    str,
    Meta(
        pattern=r"^[1-5]([0-9]{2}|xx)\Z",
        description="A status, or `4xx` for a class",
        examples=["4xx"],
    ),
]
PathStart = Annotated[str, Meta(max_length=500, description="The beginning of the path")]
SearchText = Annotated[
    Line, Meta(description="A text in the path, the bodies or the request id, ignoring case")
]


class Request(Struct):
    """A request to the API. The newest 1,000 are kept, without those of the portal.

    Secrets are replaced, and long texts cut. A request is `replayable` if its path and body are
    complete.
    """

    id: str
    method: str
    path: str
    status: int
    duration_ms: float
    request_id: str
    request_body: str
    response_body: str
    replayable: bool
    created_at: Timestamp


class RequestQuery(PageQuery, kw_only=True):
    """Filters of the list of requests."""

    method: Method | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    path: PathStart | UnsetType = UNSET
    text: SearchText | UnsetType = UNSET
    created_after: MomentFilter | UnsetType = UNSET
    created_before: MomentFilter | UnsetType = UNSET


CONDITIONS = {
    "status": "status::text LIKE replace(%s, 'x', '_')",
    "path": "starts_with(path, %s)",
    "text": "strpos(lower(concat_ws(' ', path, request_id, request_body, response_body)),"
    " lower(%s)) > 0",
}
REQUESTS = Table("requests", "request", Request, CONDITIONS)
OPERATIONS = read_operations(REQUESTS, RequestQuery)
