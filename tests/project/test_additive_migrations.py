"""Code of the version before works with the database of this one, so that a rollback is a switch.

From version 0.2.0 on, migrations only add what older code doesn't mind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

LAST_OF_0_2 = "0029_parameters_and_metadata"
HARMLESS = (
    migrations.AddIndex,
    migrations.AlterModelManagers,
    migrations.AlterModelOptions,
    migrations.CreateModel,
    migrations.RemoveIndex,
    migrations.RunPython,
)
REMEDY = "Give a new column a db_default or null=True; leave removals to a later version."


def problems(operation: Operation, before: ProjectState) -> Iterator[str]:
    """Yield why older code couldn't work after an operation."""
    if isinstance(operation, migrations.AddField):
        field = operation.field
        if not (field.null or field.has_db_default() or field.many_to_many):
            yield f"older code can't insert rows without {operation.name}"
    elif isinstance(operation, migrations.AlterField):
        old = before.models["sandboxes", operation.model_name_lower].fields[operation.name]
        if stored(old) != stored(operation.field):
            yield f"the column of {operation.name} changes"
    elif isinstance(operation, migrations.SeparateDatabaseAndState):
        if operation.database_operations:
            yield "what it does to the database isn't known to be harmless"
    elif not isinstance(operation, HARMLESS):
        yield f"{type(operation).__name__} isn't known to be harmless"


def stored(field: models.Field[Any, Any]) -> object:
    """Return what the database knows of a field."""
    _, path, arguments, options = field.deconstruct()
    known = {name: value for name, value in options.items() if name not in field.non_db_attrs}
    return path, arguments, known


def test_migrations_only_add_what_older_code_does_not_mind() -> None:
    loader = MigrationLoader(None)
    found = []
    for _, name in loader.graph.forwards_plan(*loader.graph.leaf_nodes("sandboxes")):
        if ("sandboxes", name) not in loader.disk_migrations or name <= LAST_OF_0_2:
            continue
        migration = loader.disk_migrations["sandboxes", name]
        before = loader.project_state(("sandboxes", name), at_end=False)
        for operation in migration.operations:
            found += [f"{name}: {one}. {REMEDY}" for one in problems(operation, before)]
            operation.state_forwards("sandboxes", before)
    assert found == []


@pytest.mark.parametrize(
    ("operation", "is_harmless"),
    [
        (migrations.AddField("sandbox", "later", models.TextField(null=True)), True),
        (migrations.AddField("sandbox", "later", models.TextField(db_default="")), True),
        (migrations.AddField("sandbox", "later", models.TextField(default="")), False),
        (migrations.RemoveField("sandbox", "name"), False),
        (migrations.AlterField("sandbox", "name", models.TextField(help_text="other")), False),
        (migrations.RenameField("sandbox", "name", "title"), False),
        (migrations.SeparateDatabaseAndState([], [migrations.DeleteModel("Pool")]), True),
        (migrations.SeparateDatabaseAndState([migrations.DeleteModel("Pool")]), False),
    ],
)
def test_operations_that_older_code_minds_are_found(
    operation: Operation, is_harmless: bool
) -> None:
    before = MigrationLoader(None).project_state()
    assert bool(list(problems(operation, before))) is not is_harmless
