"""Parser of OpenAPI 3.0 and 3.1 documents into operations that users can try.

A document comes from a sandbox, so nothing in it is trusted: unknown parts are left out, and
`InvalidOpenAPIDocument` is raised for anything that isn't such a document. The names of all
operations are read at once and the details of an operation when they are needed; how much is read
is limited.
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
