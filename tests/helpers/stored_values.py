"""What the database holds, read without the models."""

from __future__ import annotations

from django.db import connection

from sandboxes.models import Sandbox


def at_rest(sandbox: Sandbox) -> str:
    """Return the stored value of the column."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT secrets FROM sandboxes_sandbox WHERE id = %s", [sandbox.pk])
        return str(cursor.fetchone()[0])


def everything_at_rest() -> str:
    """Return every value of every table of the portal."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            found += [str(row) for row in cursor.fetchall()]
    return "\n".join(found)
