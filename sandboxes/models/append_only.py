"""Triggers by which the database itself refuses to change or delete rows of a table.

A migration installs them. On SQLite a later migration that alters the table has to do so again,
since SQLite makes such a table anew.
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
    """The SQL that guards the table, for a database of that vendor."""
    own = {"postgresql": POSTGRESQL, "sqlite": SQLITE}.get(vendor, ())
    return [statement.format(table=table) for statement in own]
