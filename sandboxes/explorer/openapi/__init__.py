"""What an API says of itself: OpenAPI 3.0 and 3.1 read into operations that people can try.

A document comes out of a sandbox, so nothing in it is relied on: what is not understood is left
out, and what is no such document at all is `InvalidOpenAPIDocument`.
"""

from sandboxes.explorer.openapi.document import InvalidOpenAPIDocument
from sandboxes.explorer.openapi.operations import (
    Body,
    Description,
    Field,
    Group,
    Operation,
    Parameter,
)
from sandboxes.explorer.openapi.parser import read

__all__ = [
    "Body",
    "Description",
    "Field",
    "Group",
    "InvalidOpenAPIDocument",
    "Operation",
    "Parameter",
    "read",
]
