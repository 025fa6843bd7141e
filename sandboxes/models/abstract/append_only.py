"""Database triggers that prevent changes and deletions of rows.

A migration installs them. On SQLite, a later migration that rebuilds the table has to install them
again.
"""

from __future__ import annotations

POSTGRESQL = (
    """CREATE OR REPLACE FUNCTION {table}_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'This table is append-only.'; END $$""",
    """CREATE TRIGGER {table}_keep BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {table}_is_append_only()""",
)
SQLITE = tuple(
    f"CREATE TRIGGER {{table}}_no_{act} BEFORE {act} ON {{table}} "
    "BEGIN SELECT RAISE(ABORT, 'This table is append-only.'); END"
    for act in ("update", "delete")
)


def trigger_sql(vendor: str, table: str) -> list[str]:
    """Return the SQL statements that create the triggers, for a database vendor."""
    own = {"postgresql": POSTGRESQL, "sqlite": SQLITE}.get(vendor, ())
    return [statement.format(table=table) for statement in own]
